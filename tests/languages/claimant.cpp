// A claimant in C++: see README.md.
#include <lockfolder.hpp>

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>

namespace fs = std::filesystem;

struct Violation {
    const char *what;
};

static void work(std::uint64_t token) {
    const std::string me = std::to_string(getpid());
    std::error_code error;
    fs::create_symlink(me, "inside", error);
    if (error) {
        fs::rename("inside", "found/" + std::to_string(token), error);
        if (!error) fs::create_symlink(me, "inside", error);
        if (error) throw Violation{"another is inside"};
    }
    std::ofstream("log", std::ios::app) << "cpp " + me + " " + std::to_string(token) + "\n";
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    if (fs::read_symlink("inside", error) != me || !fs::remove("inside", error)) throw Violation{"another was inside"};
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    try {
        fs::current_path(argv[2]);
        lockfolder::Folder folder(argv[1]);
        while (!fs::exists("stop")) {
            std::scoped_lock lock(folder);
            work(folder.fence());
        }
    } catch (const Violation &violation) {
        std::cerr << "cpp: VIOLATION: " << violation.what << '\n';
        return 3;
    } catch (const std::exception &error) {
        std::cerr << "cpp: " << error.what() << '\n';
        return 1;
    }
}
