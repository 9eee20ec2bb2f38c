#include <lockfolder.hpp>

#include <cstdint>
#include <mutex>

static void work(std::uint64_t) {}

int main()
{
    SNIPPET
}
