// Exceptions that are caught while other threads run, thread-local objects, and text; THROWN: what nobody catches; LEFT: a
// lock that is left held by one.
#include <cassert>
#include <iostream>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static std::mutex lock;
static int caught, ended;

struct Mine {
    std::string text = "of ";
    ~Mine() { std::lock_guard<std::mutex> held(lock); ended++; }
};
static thread_local Mine mine;

static void run(int n)
{
    try {
#ifdef LEFT
        lock.lock();
        throw std::runtime_error(std::to_string(n));
#else
        std::lock_guard<std::mutex> held(lock);
        throw std::runtime_error(std::to_string(n));
#endif
    } catch (const std::exception &thrown) {
        std::lock_guard<std::mutex> held(lock);
        caught++;
        mine.text += thrown.what();
        assert(mine.text == "of " + std::to_string(n));
    }
}

int main()
{
    std::vector<std::thread> threads;
    for (int n = 0; n < 2; n++)
        threads.emplace_back(run, n);
    for (std::thread &thread : threads)
        thread.join();
    std::ostringstream said;
    said << caught << " " << ended << " " << 0.25;
    assert(said.str() == "2 2 0.25");
    std::cout << said.str() << std::endl;
#ifdef THROWN
    throw std::out_of_range("nobody");
#endif
}
