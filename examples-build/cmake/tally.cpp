// tally FILE PROCESSES TIMES: each process adds one to the number in FILE, again and again, under the lock of FILE.lock.

#include <lockfolder.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <mutex>

static long number_in(const std::string &path) {
    long number = 0;
    std::ifstream(path) >> number;
    return number;
}

static void count(const std::string &path, int times) {
    lockfolder::Folder folder(path + ".lock");
    for (int i = 0; i < times; ++i) {
        const std::scoped_lock held(folder);
        const long number = number_in(path);
        std::ofstream(path) << number + 1 << '\n';
    }
}

int main(int argc, char **argv) try {
    if (argc != 4) {
        std::cerr << "usage: tally FILE PROCESSES TIMES\n";
        return 64;
    }
    const std::string path = argv[1];
    const int processes = std::stoi(argv[2]), times = std::stoi(argv[3]);
    std::filesystem::remove(path);

    for (int i = 0; i < processes; ++i) {
        if (fork() == 0) {
            try {
                count(path, times);
                _exit(0);
            } catch (const std::exception &error) {
                std::cerr << "tally: " << error.what() << std::endl;
                _exit(1);
            }
        }
    }
    bool all_well = true;
    for (int status = 0; wait(&status) > 0;) all_well = all_well && status == 0;

    std::cout << "counted to " << number_in(path) << ", should be " << processes * times << '\n';
    return all_well && number_in(path) == processes * times ? 0 : 1;
} catch (const std::exception &error) {
    std::cerr << "tally: " << error.what() << '\n';
    return 1;
}
