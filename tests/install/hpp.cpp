// lockfolder.hpp: what its comments promise. Run in an empty folder; prints nothing and returns 0 if all is well.

#include <lockfolder.hpp>

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <mutex>
#include <set>
#include <thread>

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using lockfolder::Bid;
using lockfolder::errc;
using lockfolder::Error;
using lockfolder::Folder;
using lockfolder::Open;
using lockfolder::State;
using lockfolder::Wait;

// The name of a bid that is made by hand.
#define BROKEN "eeeeeeee-0000-4000-8000-000000000000.json"

#define CHECK(what) \
    do { \
        if (!(what)) { \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            std::exit(1); \
        } \
    } while (false)

static_assert(!std::is_copy_constructible_v<Folder> && !std::is_copy_assignable_v<Folder>);
static_assert(std::is_nothrow_move_constructible_v<Folder> && std::is_nothrow_move_assignable_v<Folder>);
static_assert(noexcept(std::declval<Folder &>().unlock()) && noexcept(std::declval<Folder &>().cancel()));
static_assert(std::is_nothrow_copy_constructible_v<Error>);
static_assert(std::is_error_code_enum_v<errc>);
static_assert(!std::is_convertible_v<fs::path, Folder>);

// What `action` throws; the test ends if it doesn't.
static Error thrown_by(const std::function<void()> &action) {
    try {
        action();
    } catch (const Error &error) {
        return error;
    }
    std::fprintf(stderr, "nothing was thrown\n");
    std::abort();
}

static bool has(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

static void locks_and_unlocks() {
    Folder folder("basic");
    CHECK(!folder.holds());
    CHECK(has(folder.last_error(), "does not hold the lock") && has(folder.last_error(), "basic"));
    folder.lock();
    CHECK(folder.holds());
    CHECK(!folder.in_use());
    folder.unlock();
    CHECK(!folder.holds());
    CHECK(folder.try_lock());
    folder.unlock_or_throw();
    CHECK(folder.native_handle() != nullptr);
    CHECK(std::string(lockfolder::version()).size() >= 5);
}

static void standard_guards_work() {
    Folder ours("guards"), theirs("guards");
    {
        const std::scoped_lock held(ours);
        CHECK(ours.holds() && !theirs.try_lock());
        CHECK(has(theirs.last_error(), "busy") && has(theirs.last_error(), std::to_string(getpid())));
        CHECK(theirs.in_use());
        std::unique_lock<Folder> tried(theirs, std::try_to_lock);
        CHECK(!tried.owns_lock());
        CHECK(!tried.try_lock_for(1us)); // a microsecond is not for ever
        CHECK(!tried.try_lock_for(-1s));
        CHECK(!tried.try_lock_until(std::chrono::system_clock::now() - 1h));
        CHECK(!tried.try_lock_until(std::chrono::steady_clock::now() + 2ms));
        const std::unique_lock<Folder> timed(theirs, 1ms);
        CHECK(!timed.owns_lock());
    }
    std::unique_lock<Folder> held(theirs, std::defer_lock);
    CHECK(held.try_lock_for(std::chrono::hours::max()) && theirs.holds());
    held.unlock();
    CHECK(held.try_lock_until(std::chrono::steady_clock::time_point::max()) && theirs.holds());
    held.unlock();
    CHECK(held.try_lock_until(std::chrono::system_clock::now() - 1h) && theirs.holds()); // late, but free
    held.unlock();
    held.lock();
    held.release();
    const std::lock_guard<Folder> adopted(theirs, std::adopt_lock);
    CHECK(theirs.holds());
}

static void a_wait_goes_in_steps() {
    Folder ours("steps"), theirs("steps");
    CHECK(ours.begin_wait() == Wait::locked);
    CHECK(theirs.begin_wait_for(1h) == Wait::pending && theirs.step_wait() == Wait::pending);
    Folder moved(std::move(theirs));
    pollfd due = {moved.wait_fd().value(), POLLIN, 0};
    CHECK(poll(&due, 1, 0) == 0);
    try {
        (void)moved.begin_wait();
        CHECK(false);
    } catch (const Error &error) {
        CHECK(error.code() == lockfolder::errc::busy);
    }
    ours.unlock();
    Wait wait = Wait::pending;
    while (wait == Wait::pending) {
        CHECK(poll(&due, 1, -1) == 1);
        wait = moved.step_wait();
    }
    CHECK(wait == Wait::locked && moved.holds());
    CHECK(ours.begin_wait_for(0s) == Wait::timeout && ours.begin_wait() == Wait::pending);
    ours.end_wait();
    ours.end_wait();
    moved.unlock();
    CHECK(ours.try_lock());
    ours.unlock();
}

// Goes by calls, not by time.
struct CountingClock {
    using rep = std::int64_t;
    using period = std::milli;
    using duration = std::chrono::duration<rep, period>;
    using time_point = std::chrono::time_point<CountingClock>;
    static constexpr bool is_steady = true;
    static inline rep calls = 0;
    static time_point now() noexcept { return time_point(duration(calls++)); }
};

static void any_clock_will_do() {
    Folder ours("clock"), theirs("clock");
    ours.lock();
    CHECK(!theirs.try_lock_until(CountingClock::time_point(CountingClock::duration(4))));
    CHECK(CountingClock::calls == 5); // it came back to the clock until that said so
    ours.unlock();
    CHECK(theirs.try_lock_until(CountingClock::time_point(CountingClock::duration(100))));
}

static void times_are_rounded_up() {
    using lockfolder::detail::milliseconds_up;
    const auto most = std::numeric_limits<std::int64_t>::max();
    CHECK(milliseconds_up(0ms) == 0 && milliseconds_up(-1ms) == 0 && milliseconds_up(std::chrono::hours::min()) == 0);
    CHECK(milliseconds_up(1ns) == 1 && milliseconds_up(1ms) == 1 && milliseconds_up(1000001ns) == 2);
    CHECK(milliseconds_up(1min) == 60000);
    CHECK(milliseconds_up(std::chrono::nanoseconds::max()) == 9223372036855);
    CHECK(milliseconds_up(std::chrono::hours::max()) == most && milliseconds_up(std::chrono::milliseconds::max()) == most);
    CHECK(milliseconds_up(std::chrono::duration<double>(1.0001)) == 1001);
    CHECK(milliseconds_up(std::chrono::duration<double>(HUGE_VAL)) == most);
    CHECK(milliseconds_up(std::chrono::duration<double>(std::nan(""))) == 0);
    CHECK(milliseconds_up(std::chrono::duration<float, std::milli>(0.5F)) == 1);
}

// Two threads take two folders, in opposite order.
static void two_at_once_without_deadlock() {
    std::atomic<int> inside{0};
    int rounds = 0; // guarded by the locks
    const auto work = [&](const char *first, const char *second) {
        Folder a(first), b(second);
        for (int i = 0; i < 100; ++i) {
            const std::scoped_lock held(a, b);
            CHECK(inside.fetch_add(1) == 0);
            CHECK(a.holds() && b.holds());
            ++rounds;
            CHECK(inside.fetch_sub(1) == 1);
        }
    };
    std::thread other(work, "left", "right");
    work("right", "left");
    other.join();
    CHECK(rounds == 200);
}

static void a_wait_can_be_cancelled() {
    Folder ours("cancel"), theirs("cancel");
    ours.cancel(); // nothing waits: nothing happens
    ours.lock();
    for (const bool timed : {false, true}) {
        std::atomic<bool> ended{false};
        std::thread waiter([&] {
            const Error error = thrown_by([&] {
                if (timed) {
                    CHECK(theirs.try_lock_for(1h));
                } else {
                    theirs.lock();
                }
            });
            CHECK(error.code() == errc::cancelled && error.code() == std::errc::operation_canceled);
            ended = true;
        });
        while (!ended) {
            theirs.cancel();
            std::this_thread::sleep_for(1ms);
        }
        waiter.join();
    }
    CHECK(!theirs.holds() && ours.holds());
}

static void errors_say_what_and_why() {
    Folder folder("errors");
    folder.lock();
    Error error = thrown_by([&] { folder.lock(); });
    CHECK(error.code() == errc::already_held && error.code() == std::errc::resource_deadlock_would_occur);
    CHECK(error.what() == folder.last_error() && !folder.last_error().empty());
    const Error copy = error;
    CHECK(std::string(copy.what()) == error.what());
    CHECK(thrown_by([&] { (void)folder.try_lock(); }).code() == errc::already_held);
    folder.unlock();
    CHECK(thrown_by([&] { folder.unlock_or_throw(); }).code() == errc::not_held);
    CHECK(thrown_by([&] { (void)folder.fence(); }).code() == std::errc::operation_not_permitted);
    folder.unlock(); // to no effect

    error = thrown_by([] { const Folder missing("nowhere", Open::no_create); });
    CHECK(error.code() == errc::io && error.code() == std::errc::io_error);
    CHECK(error.system_code() == std::errc::no_such_file_or_directory);
    CHECK(has(error.what(), "nowhere"));
    CHECK(!fs::exists("nowhere"));

    const std::string too_long(300, 'x');
    error = thrown_by([&] { const Folder folder_too_long(too_long); });
    CHECK(error.system_code() == std::errc::filename_too_long);
    CHECK(has(error.what(), too_long)); // more than the first buffer holds

    CHECK(thrown_by([] { const Folder empty(""); }).code() == std::errc::invalid_argument);
    CHECK(thrown_by([] { const Folder cut(std::string("a\0b", 3)); }).code() == errc::invalid);
    CHECK(!fs::exists("a"));

    fs::create_directory("open-to-all");
    CHECK(chmod("open-to-all", 0777) == 0);
    error = thrown_by([] { const Folder shared("open-to-all", Open::only_mine | Open::no_create); });
    CHECK(error.code() == errc::unsafe && error.code() == std::errc::permission_denied);
}

static void a_deleted_bid_is_a_lost_lock() {
    Folder folder("lost");
    folder.lock();
    CHECK(fs::remove(fs::path("lost") / folder.bids().at(0).name));
    CHECK(!folder.holds());
    CHECK(thrown_by([&] { (void)folder.fence(); }).code() == errc::lost);
    CHECK(thrown_by([&] { folder.unlock_or_throw(); }).code() == errc::lost);
    CHECK(folder.try_lock());
}

static bool is_readable(int fd, std::chrono::milliseconds within) {
    pollfd one{fd, POLLIN, 0};
    return poll(&one, 1, static_cast<int>(within.count())) == 1;
}

// A child holds the lock with a lease of 5 s, is stopped for longer than two thirds of it, and goes on. `work` is what it
// does then.
static void after_a_stop(const char *path, const std::function<void(Folder &)> &work) {
    int ready[2], go[2];
    CHECK(pipe(ready) == 0 && pipe(go) == 0);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(300); // against hanging
        Folder folder(path);
        folder.set_lease(5s);
        folder.lock();
        char byte = '!';
        CHECK(write(ready[1], &byte, 1) == 1);
        CHECK(read(go[0], &byte, 1) == 1);
        work(folder);
        _exit(7);
    }
    char byte = 0;
    close(ready[1]);
    CHECK(read(ready[0], &byte, 1) == 1);
    CHECK(kill(pid, SIGSTOP) == 0);
    std::this_thread::sleep_for(4500ms);
    CHECK(kill(pid, SIGCONT) == 0);
    CHECK(write(go[1], &byte, 1) == 1);
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    for (const int fd : {ready[0], go[0], go[1]}) close(fd);
}

static void a_holder_that_was_stopped_for_too_long_learns_it() {
    fs::create_directories("lease/.lockfolder");
    std::ofstream("lease/.lockfolder/shared"); // other hosts use the folder too
    after_a_stop("lease", [](Folder &folder) {
        CHECK(is_readable(folder.lost_fd().value(), 1min));
        CHECK(!folder.holds());
        CHECK(thrown_by([&] { (void)folder.valid_for(); }).code() == errc::lost);
        CHECK(thrown_by([&] { folder.renew(); }).code() == errc::lost);
        const Error error = thrown_by([&] { folder.unlock_or_throw(); });
        CHECK(error.code() == errc::lost && has(error.what(), "lease"));
        folder.lock();
        CHECK(!is_readable(folder.lost_fd().value(), 0ms));
    });
    after_a_stop("no-lease", [](Folder &folder) {
        CHECK(!folder.valid_for());
        CHECK(!is_readable(folder.lost_fd().value(), 1s));
        folder.renew();
        CHECK(folder.holds());
        folder.unlock_or_throw();
    });
}

static void without_a_thread_the_program_renews() {
    fs::create_directories("no-thread/.lockfolder");
    std::ofstream("no-thread/.lockfolder/shared");
    Folder folder("no-thread", Open::no_thread);
    CHECK(thrown_by([&] { folder.set_lease(4999ms); }).code() == errc::invalid);
    CHECK(thrown_by([&] { folder.set_lease(std::chrono::hours::max()); }).code() == errc::invalid);
    folder.set_lease(1h);
    CHECK(thrown_by([&] { folder.renew(); }).code() == errc::not_held);
    CHECK(thrown_by([&] { (void)folder.valid_for(); }).code() == errc::not_held);
    folder.lock();
    CHECK(thrown_by([&] { folder.set_lease(5s); }).code() == errc::already_held);
    folder.renew();
    const auto left = folder.valid_for();
    CHECK(left && *left > 0ms && *left <= 40min);
    folder.unlock();
    folder.set_lease(5s);
    folder.lock();
    CHECK(is_readable(folder.lost_fd().value(), 1min)); // the program does not renew
    CHECK(!folder.holds());
    const Folder moved(std::move(folder));
    CHECK(moved.lost_fd() && !folder.lost_fd()); // NOLINT: on purpose
}

static void moves_take_the_lock_along() {
    Folder first("move");
    first.lock();
    Folder second(std::move(first));
    CHECK(second.holds());
    const Error error = thrown_by([&] { first.lock(); }); // NOLINT: on purpose
    CHECK(error.code() == errc::invalid && has(error.what(), "moved from") && has(first.last_error(), "moved from"));
    CHECK(!error.system_code());
    first.unlock();
    first.cancel();

    Folder other("move-other");
    other.lock();
    other = std::move(second);
    CHECK(other.holds());
    Folder free_now("move-other");
    CHECK(free_now.try_lock());
    { const Folder last(std::move(other)); }
    CHECK(Folder("move").try_lock());
    CHECK(!Folder("move").in_use());
}

static void tokens_grow() {
    std::uint64_t before = 0;
    for (int i = 0; i < 3; ++i) {
        Folder folder("fence");
        const std::scoped_lock held(folder);
        const std::uint64_t token = folder.fence();
        CHECK(token > before);
        before = token;
    }
}

static int child(const std::function<void()> &work) {
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        work();
        _exit(7);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    return pid;
}

static void bids_are_values() {
    Folder folder("bids");
    CHECK(folder.bids().empty());
    const int dead = child([] {
        static Folder leaked("bids"); // not destroyed by _exit
        leaked.lock();
    });
    const std::vector<Bid> stale = folder.bids();
    CHECK(stale.size() == 1 && stale[0].state == State::stale && stale[0].pid == dead);
    CHECK(!folder.in_use());
    CHECK(folder.reap_stale() == 1 && folder.reap_stale() == 0);
    CHECK(folder.bids().empty() && stale[0].pid == dead);

    folder.lock();
    std::ofstream("bids/" BROKEN) << "{";
    const std::vector<Bid> bids = folder.bids();
    CHECK(bids.size() == 2);
    const Bid &own = bids[0].state == State::own ? bids[0] : bids[1];
    const Bid &broken = bids[0].state == State::own ? bids[1] : bids[0];
    CHECK(own.state == State::own && own.pid == getpid() && own.command && own.host && own.age >= 0ms);
    CHECK(own.created && *own.created > std::chrono::system_clock::time_point(1000000000s));
    CHECK(*own.created <= std::chrono::system_clock::now() + 2s);
    CHECK(broken.name == BROKEN && broken.state == State::malformed);
    CHECK(!broken.pid && !broken.command && !broken.host && !broken.created);
    folder.unlock();

    // A bid can say any time. A time_point holds only some.
    std::ofstream("bids/" BROKEN) << "{\"PID\": 1, \"CREATED\": 9223372036854775807, \"BOOT\": \"another\"}";
    const std::vector<Bid> late = folder.bids();
    CHECK(late.size() == 1 && late[0].created && *late[0].created > std::chrono::system_clock::now());
    std::ofstream("bids/" BROKEN) << "{";

    CHECK(!folder.try_lock());
    fs::last_write_time("bids/" BROKEN, fs::file_time_type::clock::now() - 2s); // and not before this boot
    CHECK(!folder.try_lock());
    folder.set_malformed_grace(std::chrono::hours::max());
    CHECK(!folder.try_lock());
    folder.set_malformed_grace(1s);
    CHECK(folder.try_lock());
}

static void a_child_may_not_use_it() {
    Folder folder("fork");
    folder.lock();
    child([&] {
        const Error error = thrown_by([&] { (void)folder.try_lock(); });
        CHECK(error.code() == errc::forked && has(error.what(), "parent"));
        CHECK(error.what() == folder.last_error());
        { const Folder moved(std::move(folder)); }
        CHECK(!Folder("fork").try_lock());
    });
    CHECK(folder.holds());
}

/// However it leaves them, it comes out with what it left for.
static void a_child_may_leave_the_scopes_of_its_parents_lock() {
    int parents = 0;
    {
        Folder folder("fork-scope");
        const std::function<void()> scopes[] = {
            [&] {
                const std::unique_lock held(folder);
                const pid_t pid = fork();
                CHECK(pid >= 0);
                if (pid == 0) throw pid; // through the guard
                int status = 0;
                CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
                CHECK(folder.holds());
                ++parents;
            },
            [&] {
                Folder inner("fork-inner");
                inner.lock();
                const pid_t pid = fork();
                CHECK(pid >= 0);
                if (pid == 0) throw pid; // through the Folder
                int status = 0;
                CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
                CHECK(inner.holds());
                ++parents;
            },
        };
        for (const auto &scope : scopes) {
            try {
                scope();
            } catch (pid_t) {
                _exit(7);
            }
        }
    }
    CHECK(parents == 2);
}

static void the_category_knows_every_status() {
    const std::error_category &category = lockfolder::category();
    CHECK(std::string(category.name()) == "lockfolder");
    CHECK(category == lockfolder::category());
    std::set<std::string> messages;
    for (int status = LF_ERR_INTERNAL; status <= LF_CANCELLED; ++status) CHECK(messages.insert(category.message(status)).second);
    CHECK(category.message(99) == "LF_UNKNOWN");
    CHECK(make_error_code(errc::busy) == std::errc::device_or_resource_busy);
    CHECK(make_error_code(errc::timeout) == std::errc::timed_out);
    CHECK(make_error_code(errc::forked) == std::errc::operation_not_permitted);
    CHECK(make_error_code(errc::unsupported) == std::errc::not_supported);
    CHECK(make_error_code(errc::lost).default_error_condition().category() == category);
    CHECK(!std::error_code(LF_OK, category));
    CHECK(std::error_code(errc::io).value() == LF_ERR_IO);
}

static void readers_are_in_together_and_a_writer_is_alone() {
    Folder first("readers"), second("readers"), writer("readers");
    first.set_shared();
    second.set_shared();
    {
        const std::scoped_lock both(first, second);
        CHECK(first.holds() && second.holds() && !writer.try_lock());
        CHECK(thrown_by([&] { first.set_slots(1); }).code() == errc::already_held);
    }
    CHECK(first.try_lock());
    CHECK(writer.begin_wait() == Wait::pending);
    CHECK(thrown_by([&] { writer.set_shared(); }).code() == errc::busy);
    Folder late("readers");
    late.set_shared();
    CHECK(!late.try_lock()); // it is behind the writer
    first.unlock_or_throw();
    while (writer.step_wait() == Wait::pending) std::this_thread::sleep_for(1ms);
    CHECK(!second.try_lock());
    writer.unlock_or_throw();
    second.set_slots(1);
    CHECK(second.try_lock() && !first.try_lock());
}

static void as_many_are_in_as_there_are_places() {
    std::vector<Folder> folders;
    for (int i = 0; i < 4; ++i) folders.emplace_back("places").set_slots(3);
    for (int i = 0; i < 3; ++i) CHECK(folders[static_cast<std::size_t>(i)].try_lock());
    CHECK(!folders[3].try_lock());
    folders[1].unlock_or_throw();
    CHECK(folders[3].try_lock_for(60s));
    CHECK(folders[0].fence() != folders[3].fence());

    Folder other("places");
    CHECK(!other.try_lock());
    CHECK(thrown_by([&] { other.set_slots(0); }).code() == errc::invalid);
    other.set_slots(2);
    const Error error = thrown_by([&] { other.lock(); });
    CHECK(error.code() == errc::invalid && has(error.what(), "2 slots") && has(error.what(), "3 slots"));
}

int main() {
    locks_and_unlocks();
    standard_guards_work();
    a_wait_goes_in_steps();
    readers_are_in_together_and_a_writer_is_alone();
    as_many_are_in_as_there_are_places();
    any_clock_will_do();
    times_are_rounded_up();
    two_at_once_without_deadlock();
    a_wait_can_be_cancelled();
    errors_say_what_and_why();
    a_deleted_bid_is_a_lost_lock();
    a_holder_that_was_stopped_for_too_long_learns_it();
    without_a_thread_the_program_renews();
    moves_take_the_lock_along();
    tokens_grow();
    bids_are_values();
    a_child_may_not_use_it();
    a_child_may_leave_the_scopes_of_its_parents_lock();
    the_category_knows_every_status();
}
