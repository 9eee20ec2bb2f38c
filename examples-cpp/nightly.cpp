// A job of which only one may run at a time, on whichever terminal, cron or container it was started.
//
//     nightly FOLDER SECONDS COMMAND      runs COMMAND under the lock of FOLDER, which it waits for SECONDS at most

#include <lockfolder.hpp>

#include <cstdlib>
#include <iostream>
#include <mutex>
#include <string>

namespace {

// Other users of the folder may have written this text, and the terminal may obey what is in it.
std::string printable(std::string text) {
    for (char &byte : text)
        if (byte < ' ' || byte > '~') byte = '?';
    return text;
}

void print_who_is_there(const lockfolder::Folder &folder) {
    for (const lockfolder::Bid &bid : folder.bids()) {
        std::cerr << "  " << bid.name << ": " << printable(bid.command.value_or("?")) << ", PID "
                  << bid.pid.value_or(0) << " on " << printable(bid.host.value_or("?")) << ", for " << bid.age.count()
                  << " ms\n";
    }
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 4) {
        std::cerr << "usage: nightly FOLDER SECONDS COMMAND\n";
        return 64;
    }
    try {
        lockfolder::Folder folder(argv[1]);
        const std::unique_lock held(folder, std::chrono::duration<double>(std::atof(argv[2])));
        if (!held) {
            std::cerr << "nightly: " << folder.last_error() << '\n';
            print_who_is_there(folder);
            return 75;
        }
        // Whatever the job writes to can refuse a smaller number than it has seen: that of a job which lost its lock.
        std::cout << "nightly: run number " << folder.fence() << std::endl;
        return std::system(argv[3]) == 0 ? 0 : 1;
    } catch (const lockfolder::Error &error) {
        std::cerr << "nightly: " << error.what() << '\n';
        return 1;
    }
}
