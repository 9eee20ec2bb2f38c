/*
 * lockfolder for C++17 and later: a mutex between processes that lives in a folder.
 *
 *     lockfolder::Folder folder("/var/lib/app/lock");
 *     std::scoped_lock lock(folder);
 *     ... work that nobody else may do meanwhile ...
 *
 * A Folder is one claimant on one lock folder. It is Lockable and TimedLockable, so it can be used like a
 * std::timed_mutex: with std::unique_lock, std::scoped_lock (of several, without deadlock) and std::lock.
 *
 * Rules for all members:
 *
 * - Errors are thrown as lockfolder::Error, a std::system_error. code() is one of lockfolder::errc and compares equal
 *   to the std::errc with the same meaning. what() is the library's sentence for people. system_code() is the errno
 *   behind it.
 * - Threads. Any thread may call any member at any time, except the destructor and moves. But two threads do not
 *   exclude each other through one Folder: threads that should exclude each other open a Folder each. (While one
 *   thread waits in lock(), try_lock() in another returns false and lock() throws errc::busy.)
 * - Fork. In a child, each member throws errc::forked for an inherited Folder (unlock() and cancel() do nothing), and
 *   the destructor leaves the parent's lock alone. last_error() and native_handle() still work.
 * - Leases. Where other hosts use the folder too, a lock has a lease, and a thread of the library renews it. A process
 *   that is stopped for too long loses the lock: lost_fd() is then readable, holds() is false, and unlock_or_throw()
 *   throws errc::lost. unlock() and the standard guards report nothing, so call unlock_or_throw() where a loss matters.
 * - A Folder that was moved from can be assigned to and destroyed. Everything else throws errc::invalid.
 *
 * The members are inline functions over lockfolder.h, which says more about each function. Link as for C.
 */

#ifndef LOCKFOLDER_HPP
#define LOCKFOLDER_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "lockfolder.h"

namespace lockfolder {

/// The result of a call that did not succeed. The values are those of lf_status.
enum class errc : int {
    busy = LF_BUSY,                  ///< another claimant holds the lock or bids for it
    timeout = LF_TIMEOUT,            ///< the time to wait is over
    cancelled = LF_CANCELLED,        ///< Folder::cancel ended the wait
    invalid = LF_ERR_INVALID,        ///< a bad argument
    not_held = LF_ERR_NOT_HELD,      ///< this Folder does not hold the lock
    already_held = LF_ERR_ALREADY_HELD, ///< this Folder holds the lock already
    lost = LF_ERR_LOST,              ///< the lock was held, and the bid is gone or its lease is over
    forked = LF_ERR_FORKED,          ///< the Folder belongs to the parent process
    io = LF_ERR_IO,                  ///< the system refused: Error::system_code
    unsafe = LF_ERR_UNSAFE,          ///< the wrong users have access: LF_ERR_UNSAFE
    unsupported = LF_ERR_UNSUPPORTED, ///< this filesystem or system can't guarantee the lock
    internal = LF_ERR_INTERNAL       ///< an internal error in the library
};

namespace detail {

class Category final : public std::error_category {
public:
    const char *name() const noexcept override { return "lockfolder"; }

    std::string message(int status) const override {
        switch (status) {
        case LF_OK: return "done";
        case LF_BUSY: return "the lock folder is busy";
        case LF_TIMEOUT: return "the time to wait for the lock is over";
        case LF_CANCELLED: return "the wait for the lock was cancelled";
        case LF_ERR_INVALID: return "bad argument";
        case LF_ERR_NOT_HELD: return "the lock is not held";
        case LF_ERR_ALREADY_HELD: return "the lock is held already";
        case LF_ERR_LOST: return "the lock was lost: somebody deleted the bid, or its lease is over";
        case LF_ERR_FORKED: return "the parent process opened the lock folder";
        case LF_ERR_IO: return "the system refused";
        case LF_ERR_UNSAFE: return "the wrong users have access to the lock folder";
        case LF_ERR_UNSUPPORTED: return "this filesystem or system can't guarantee the lock";
        case LF_ERR_INTERNAL: return "an internal error in lockfolder";
        default: return lf_status_name(status);
        }
    }

    std::error_condition default_error_condition(int status) const noexcept override {
        switch (status) {
        case LF_BUSY: return std::errc::device_or_resource_busy;
        case LF_TIMEOUT: return std::errc::timed_out;
        case LF_CANCELLED: return std::errc::operation_canceled;
        case LF_ERR_INVALID: return std::errc::invalid_argument;
        case LF_ERR_NOT_HELD: return std::errc::operation_not_permitted; // as of std::unique_lock
        case LF_ERR_ALREADY_HELD: return std::errc::resource_deadlock_would_occur; // as of std::unique_lock
        case LF_ERR_FORKED: return std::errc::operation_not_permitted;
        case LF_ERR_IO: return std::errc::io_error;
        case LF_ERR_UNSAFE: return std::errc::permission_denied;
        case LF_ERR_UNSUPPORTED: return std::errc::not_supported;
        default: return {status, *this};
        }
    }
};

} // namespace detail

/// The category of every error code of this library.
inline const std::error_category &category() noexcept {
    static const detail::Category instance;
    return instance;
}

inline std::error_code make_error_code(errc status) noexcept { return {static_cast<int>(status), category()}; }

/// The exception that every member throws.
class Error : public std::system_error {
public:
    Error(errc status, const std::string &text, int system_code)
        : std::system_error(make_error_code(status)), text_(text), system_code_(system_code, std::system_category()) {}

    /// The library's sentence: it names the folder, the file, the holder, and the system's own text.
    const char *what() const noexcept override { return text_.what(); }

    /// The system's error, such as std::errc::permission_denied; zero if there is none.
    const std::error_code &system_code() const noexcept { return system_code_; }

private:
    std::runtime_error text_; // a string whose copy can't throw
    std::error_code system_code_;
};

/// How to open a folder. Combine with `|`.
enum class Open : std::uint32_t {
    normally = LF_OPEN_DEFAULT,
    no_create = LF_OPEN_NO_CREATE,              ///< don't make the folder if it is missing
    only_mine = LF_OPEN_PRIVATE,                ///< see LF_OPEN_PRIVATE: errc::unsafe
    trust_filesystem = LF_OPEN_TRUST_FILESYSTEM, ///< see LF_OPEN_TRUST_FILESYSTEM
    no_thread = LF_OPEN_NO_THREAD               ///< no thread renews a lease: call Folder::renew
};

constexpr Open operator|(Open a, Open b) noexcept {
    return static_cast<Open>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}

/// How far a wait in an event loop is: see Folder::begin_wait.
enum class Wait {
    pending, ///< it goes on: poll Folder::wait_fd, and then call Folder::step_wait
    locked,  ///< the Folder holds the lock, and the wait is over
    timeout  ///< the time is over, and so is the wait
};

/// The state of a bid: what is known of its owner. A later library may know more states.
enum class State : std::int32_t {
    own = LF_BID_OWN,             ///< this Folder
    live = LF_BID_LIVE,           ///< alive
    stale = LF_BID_STALE,         ///< provably gone
    unknown = LF_BID_UNKNOWN,     ///< can't be judged from here; it counts as live
    malformed = LF_BID_MALFORMED  ///< the bid is cut off or is not a bid; it counts as live
};

/// One bid of a snapshot. It is a value, so it never changes. Any user of the folder may have written any characters
/// into `host` and `command`: escape them before you print them.
struct Bid {
    std::string name;                   ///< file name in the folder
    std::optional<std::string> host;    ///< none if the bid does not say
    std::optional<std::string> command; ///< none if the bid does not say
    std::optional<std::int64_t> pid;    ///< in its owner's PID namespace; none if the bid can't be read
    std::optional<std::chrono::system_clock::time_point> created; ///< when the owner's process started
    std::chrono::milliseconds age;      ///< since it was posted
    State state;
};

namespace detail {

/// Milliseconds for lf_lock_wait: rounded up, never below 0 (that would mean for ever), and at most what fits.
template <class Rep, class Period>
std::int64_t milliseconds_up(const std::chrono::duration<Rep, Period> &time) {
    const double about = std::chrono::duration<double, std::milli>(time).count();
    if (!(about > 0)) return 0;
    if (about >= 9.2e18) return std::numeric_limits<std::int64_t>::max();
    return std::chrono::ceil<std::chrono::duration<std::int64_t, std::milli>>(time).count();
}

} // namespace detail

/// One claimant on one lock folder.
class Folder {
public:
    /// Opens a lock folder, and makes it if it is missing (one level). It locks nothing. The path is resolved now.
    explicit Folder(const std::filesystem::path &path, Open how = Open::normally) {
        lf_folder *opened = nullptr;
        const std::string bytes = to_bytes(path);
        if (bytes.find('\0') != std::string::npos) {
            throw Error(errc::invalid, "the path of the lock folder contains a NUL", 0);
        }
        const lf_status status = lf_open(bytes.c_str(), static_cast<std::uint32_t>(how), &opened);
        if (status != LF_OK) throw Error(errc{status}, message_of(nullptr), lf_error_code(nullptr));
        handle_.reset(opened);
    }

    Folder(Folder &&) noexcept = default;
    Folder &operator=(Folder &&) noexcept = default; ///< closes the handle that was there, and so unlocks it
    Folder(const Folder &) = delete;
    Folder &operator=(const Folder &) = delete;
    ~Folder() = default; ///< unlocks if held

    // ---- Lockable and TimedLockable ----

    /// Waits for the lock. Throws errc::cancelled if cancel() ended the wait.
    void lock() { check(lf_lock_wait(handle_.get(), -1)); }

    /// Takes the lock if it is free. It never waits until another claimant unlocks. False: another claimant has the
    /// lock, and last_error() says who.
    [[nodiscard]] bool try_lock() { return outcome(lf_lock(handle_.get())); }

    /// Waits for the lock for at most this time, rounded up to milliseconds. Throws errc::cancelled as lock() does.
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period> &time) {
        return outcome(lf_lock_wait(handle_.get(), detail::milliseconds_up(time)));
    }

    /// Waits for the lock until this time of this clock. If that time is past, it tries once.
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration> &time) {
        for (;;) {
            const auto now = Clock::now();
            if (time <= now) return try_lock_for(std::chrono::milliseconds::zero());
            const lf_status status = lf_lock_wait(handle_.get(), detail::milliseconds_up(time - now));
            // The library uses the monotonic clock. This clock may run at another speed.
            if (status != LF_TIMEOUT) return outcome(status);
        }
    }

    /// Gives the lock back. It never throws, because guards call it in their destructors. Use unlock_or_throw() to
    /// see an error.
    void unlock() noexcept { lf_unlock(handle_.get()); }

    // ---- a wait in an event loop ----

    /// Begins a wait for the lock that this program drives, and takes a step. No thread waits: poll wait_fd(), call
    /// step_wait() when it is readable, and so on until the result is not Wait::pending. Throws errc::busy if a wait is
    /// in progress already.
    [[nodiscard]] Wait begin_wait() { return progress(lf_wait_begin(handle_.get(), -1)); }

    /// The same for at most this time, rounded up to milliseconds.
    template <class Rep, class Period>
    [[nodiscard]] Wait begin_wait_for(const std::chrono::duration<Rep, Period> &time) {
        return progress(lf_wait_begin(handle_.get(), detail::milliseconds_up(time)));
    }

    /// Takes a step of that wait. Throws errc::cancelled after cancel(), and errc::invalid if no wait is in progress.
    [[nodiscard]] Wait step_wait() { return progress(lf_wait_step(handle_.get())); }

    /// Gives up that wait. It does nothing if no wait is in progress.
    void end_wait() noexcept { lf_wait_end(handle_.get()); }

    /// The descriptor that is readable when a step is due, also by time. Poll it, and never read from it or close it.
    /// It is valid as long as this Folder, also after a move. None: see lf_wait_fd; take a step every 10 ms or so.
    [[nodiscard]] std::optional<int> wait_fd() const {
        const int fd = lf_wait_fd(handle_.get());
        if (fd < 0) return std::nullopt;
        return fd;
    }

    // ---- other calls ----

    /// Gives the lock back. Throws errc::lost if somebody deleted the bid or its lease is over (others may have held
    /// the lock meanwhile).
    /// Throws errc::io if the bid could not be deleted: then the lock is still held, and you can try again.
    void unlock_or_throw() { check(lf_unlock(handle_.get())); }

    /// Whether this Folder holds the lock and its bid is still in the folder. False also if the lock was lost.
    [[nodiscard]] bool holds() const {
        const lf_status status = lf_holds(handle_.get());
        if (status == LF_ERR_NOT_HELD || status == LF_ERR_LOST) return false;
        check(status);
        return true;
    }

    /// Whether another claimant has a bid that is not stale. It changes nothing in the folder.
    [[nodiscard]] bool in_use() const {
        bool in_use = false;
        check(lf_in_use(handle_.get(), &in_use));
        return in_use;
    }

    /// Deletes every bid whose owner is provably gone, and returns their number. Each lock deletes them too.
    std::size_t reap_stale() {
        std::size_t reaped = 0;
        check(lf_reap_stale(handle_.get(), &reaped));
        return reaped;
    }

    /// A fencing token. Each call gives a new number, larger than every earlier one of this folder, also after
    /// crashes and power loss. The lock must be held. See lf_fence, also where several hold the lock together.
    [[nodiscard]] std::uint64_t fence() {
        std::uint64_t token = 0;
        check(lf_fence(handle_.get(), &token));
        return token;
    }

    /// Makes a wait in progress on this Folder throw errc::cancelled. Without a wait it does nothing. Other threads
    /// and signal handlers may call it. To end a wait for certain: see lf_cancel.
    void cancel() noexcept { lf_cancel(handle_.get()); }

    /// A snapshot of the bids, ordered by name. It includes our own bid while we hold the lock. It changes nothing in
    /// the folder.
    [[nodiscard]] std::vector<Bid> bids() const {
        lf_bid_list *snapshot = nullptr;
        check(lf_bids(handle_.get(), &snapshot));
        const std::unique_ptr<lf_bid_list, FreeList> list(snapshot);
        std::vector<Bid> bids;
        bids.reserve(lf_bid_list_len(list.get()));
        for (std::size_t i = 0; const lf_bid *bid = lf_bid_list_get(list.get(), i); ++i) bids.push_back(to_value(*bid));
        return bids;
    }

    /// Sets after how long a cut-off bid counts as stale, rounded up to milliseconds. 0, the default, means never.
    /// See lf_set_malformed_grace.
    template <class Rep, class Period>
    void set_malformed_grace(const std::chrono::duration<Rep, Period> &grace) {
        const std::int64_t most = std::numeric_limits<std::uint32_t>::max();
        const std::int64_t wanted = detail::milliseconds_up(grace);
        check(lf_set_malformed_grace(handle_.get(), static_cast<std::uint32_t>(wanted < most ? wanted : most)));
    }

    // ---- several at once ----

    /// Lets up to `n` Folders hold the lock together, this one included, as std::counting_semaphore does. It holds from
    /// the next lock on. 1 is the default: nobody else, as a writer needs it. All that use the folder name the same
    /// number. If another one is in use there, each lock and wait throws errc::invalid. See lf_set_slots. Throws
    /// errc::already_held while the lock is held, and errc::busy while a wait is in progress.
    void set_slots(std::uint32_t n) {
        // To the library this number means any, and a program that counted to 0 means something else.
        if (n == LF_SLOTS_ANY) throw Error(errc::invalid, "a lock with 0 slots can't be held: see set_shared()", 0);
        check(lf_set_slots(handle_.get(), n));
    }

    /// The same for readers: any number of shared Folders hold the lock together, and a writer (1 slot) holds it alone.
    /// A reader that comes later does not go ahead of a writer that waits. set_slots(1) makes a writer again.
    void set_shared() { check(lf_set_slots(handle_.get(), LF_SLOTS_ANY)); }

    // ---- the lease, where other hosts use the folder too ----

    /// Sets how long the lease of the next lock lasts, rounded up to milliseconds: from 5 s to 1 h, else it throws
    /// errc::invalid. The default is 30 s. See lf_set_lease.
    template <class Rep, class Period>
    void set_lease(const std::chrono::duration<Rep, Period> &lease) {
        const std::int64_t most = std::numeric_limits<std::uint32_t>::max();
        const std::int64_t wanted = detail::milliseconds_up(lease);
        check(lf_set_lease(handle_.get(), static_cast<std::uint32_t>(wanted < most ? wanted : most)));
    }

    /// Renews the lease now, for a Folder with Open::no_thread: at least every sixth of the lease. Without a lease it
    /// does nothing. Throws errc::lost if the lock is lost. Throws errc::io if this try failed: then the lock is still
    /// held, and you can try again.
    void renew() { check(lf_renew(handle_.get())); }

    /// For how long the lock is certainly held, without another renewal. None: for as long as this process lives,
    /// because there is no lease. Throws errc::lost if the lock is lost.
    [[nodiscard]] std::optional<std::chrono::milliseconds> valid_for() const {
        std::int64_t ms = 0;
        check(lf_valid_for(handle_.get(), &ms));
        if (ms < 0) return std::nullopt;
        return std::chrono::milliseconds(ms);
    }

    /// A descriptor that becomes readable when the lease is lost. Poll it, and never read from it or close it. It is
    /// valid as long as this Folder, also after a move. None: see lf_lost_fd; ask holds() once in a while.
    [[nodiscard]] std::optional<int> lost_fd() const {
        const int fd = lf_lost_fd(handle_.get());
        if (fd < 0) return std::nullopt;
        return fd;
    }

    /// The reason for the last failure on this Folder, also after a try_lock() that returned false. A call that
    /// succeeds does not clear it.
    [[nodiscard]] std::string last_error() const { return handle_ ? message_of(handle_.get()) : moved_from(); }

    using native_handle_type = lf_folder *;

    /// For the functions of lockfolder.h. It still belongs to this Folder.
    [[nodiscard]] native_handle_type native_handle() const noexcept { return handle_.get(); }

private:
    struct Close {
        void operator()(lf_folder *folder) const noexcept { lf_close(folder); }
    };
    struct FreeList {
        void operator()(lf_bid_list *list) const noexcept { lf_bid_list_free(list); }
    };

    std::unique_ptr<lf_folder, Close> handle_;

    void check(lf_status status) const {
        if (status == LF_OK) return;
        const int system_code = handle_ ? lf_error_code(handle_.get()) : 0;
        throw Error(errc{status}, last_error(), system_code);
    }

    /// True, false, or an error.
    bool outcome(lf_status status) const {
        if (status == LF_BUSY || status == LF_TIMEOUT) return false;
        check(status);
        return true;
    }

    Wait progress(lf_status status) const {
        if (status == LF_PENDING) return Wait::pending;
        if (status == LF_TIMEOUT) return Wait::timeout;
        check(status);
        return Wait::locked;
    }

    static std::string moved_from() { return "this lockfolder::Folder was moved from"; }

    static std::string message_of(const lf_folder *handle) {
        std::string text(255, '\0');
        for (;;) {
            // The string's own terminator is the byte for the NUL.
            const std::size_t length = lf_error_message(handle, &text[0], text.size() + 1);
            const bool fits = length <= text.size();
            text.resize(length);
            if (fits) return text;
        }
    }

    static std::string to_bytes(const std::filesystem::path &path) {
#ifdef _WIN32
        const auto utf8 = path.u8string();
        return std::string(utf8.begin(), utf8.end());
#else
        return path.native();
#endif
    }

    static Bid to_value(const lf_bid &bid) {
        Bid value{};
        value.name = bid.name;
        if (bid.host) value.host = bid.host;
        if (bid.command) value.command = bid.command;
        if (bid.pid != 0) value.pid = bid.pid;
        if (bid.created >= 0) {
            // A bid can say any number, and a time_point counts smaller units, so it holds fewer seconds.
            using std::chrono::seconds;
            using std::chrono::system_clock;
            const seconds latest = std::chrono::duration_cast<seconds>((system_clock::duration::max)());
            value.created = system_clock::time_point(seconds(bid.created) < latest ? seconds(bid.created) : latest);
        }
        value.age = std::chrono::milliseconds(bid.age_ms);
        value.state = static_cast<State>(bid.state);
        return value;
    }
};

/// The version of the library that is loaded. The version of the header is in LF_VERSION_MAJOR and so on.
inline const char *version() noexcept { return lf_version(); }

} // namespace lockfolder

template <>
struct std::is_error_code_enum<lockfolder::errc> : std::true_type {};

#endif // LOCKFOLDER_HPP
