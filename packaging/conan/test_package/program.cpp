// Takes the lock of a folder through the header for C++.
#include <lockfolder.hpp>

#include <iostream>
#include <mutex>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 1;
    lockfolder::Folder folder(argv[1]);
    std::scoped_lock lock(folder);
    std::cout << "held; fencing token " << folder.fence() << "\n";
}
