// Money goes to and fro between accounts, each a file with a lock folder beside it, moved by several processes at once.
// std::scoped_lock takes the two locks that a transfer needs, in whatever order, without deadlock; no money is lost or made.
//
//     transfer FOLDER [PROCESSES [TRANSFERS]]

#include <lockfolder.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <mutex>
#include <random>

namespace {

constexpr int accounts = 3;
constexpr long money = 100;

class Account {
public:
    Account(const std::filesystem::path &folder, int number)
        : file_(folder / ("account-" + std::to_string(number))), lock_(folder / ("account-" + std::to_string(number) + ".lock")) {}

    lockfolder::Folder &lock() { return lock_; }

    // Only under the lock.
    long balance() const {
        long balance = 0;
        std::ifstream(file_) >> balance;
        return balance;
    }
    void set_balance(long balance) { std::ofstream(file_) << balance; }

private:
    std::filesystem::path file_;
    lockfolder::Folder lock_;
};

void transfer(Account &from, Account &to, long amount) {
    const std::scoped_lock held(from.lock(), to.lock());
    const long left = from.balance() - amount;
    to.set_balance(to.balance() + amount);
    from.set_balance(left);
}

// What one process does. It opens the accounts itself: a handle doesn't survive a fork.
void work(const std::filesystem::path &folder, int transfers) {
    std::vector<Account> account;
    for (int i = 0; i < accounts; ++i) account.emplace_back(folder, i);
    std::minstd_rand random(static_cast<unsigned>(getpid()));
    for (int i = 0; i < transfers; ++i) {
        const std::size_t from = random() % accounts;
        const std::size_t to = (from + 1 + random() % (accounts - 1)) % accounts;
        transfer(account[from], account[to], static_cast<long>(random() % 10));
    }
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 2) {
        std::cerr << "usage: transfer FOLDER [PROCESSES [TRANSFERS]]\n";
        return 64;
    }
    const std::filesystem::path folder = argv[1];
    const int processes = argc > 2 ? std::stoi(argv[2]) : 4;
    const int transfers = argc > 3 ? std::stoi(argv[3]) : 100;
    try {
        std::filesystem::create_directory(folder);
        for (int i = 0; i < accounts; ++i) Account(folder, i).set_balance(money);

        for (int i = 0; i < processes; ++i) {
            const pid_t pid = fork();
            if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
            if (pid == 0) {
                try {
                    work(folder, transfers);
                    _exit(0);
                } catch (const std::exception &error) {
                    std::cerr << "transfer: " << error.what() << std::endl;
                    _exit(1);
                }
            }
        }
        bool all_well = true;
        for (int status = 0; wait(&status) > 0;) all_well = all_well && status == 0;

        long sum = 0;
        for (int i = 0; i < accounts; ++i) sum += Account(folder, i).balance();
        std::cout << processes * transfers << " transfers; there were " << accounts * money << ", there are " << sum << '\n';
        return all_well && sum == accounts * money ? 0 : 1;
    } catch (const std::exception &error) {
        std::cerr << "transfer: " << error.what() << '\n';
        return 1;
    }
}
