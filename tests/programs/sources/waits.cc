// What C++20 waits with, all of which comes down to a futex: atomic, latch, barrier, semaphore and promise.
#include <atomic>
#include <barrier>
#include <cassert>
#include <future>
#include <latch>
#include <semaphore>
#include <thread>

int main()
{
    int data = 0;
#if defined ATOMIC
    std::atomic<int> ready(0);
    std::thread other([&] {
        data = 1;
        ready = 1;
#ifndef WRONG
        ready.notify_one();
#endif
    });
    ready.wait(0);
#elif defined LATCH
#ifdef WRONG
    std::latch ready(2);
#else
    std::latch ready(1);
#endif
    std::thread other([&] {
        data = 1;
        ready.count_down();
    });
    ready.wait();
#elif defined BARRIER
    std::barrier ready(2);
    std::thread other([&] {
#ifdef WRONG
        ready.arrive_and_wait();
        data = 1;
#else
        data = 1;
        ready.arrive_and_wait();
#endif
    });
    ready.arrive_and_wait();
#elif defined SEMAPHORE
    std::counting_semaphore<4> ready(0);
    std::thread other([&] {
        data = 1;
        ready.release();
    });
    ready.acquire();
#ifdef WRONG
    ready.acquire();
#endif
#else
    std::promise<int> promise;
    auto ready = promise.get_future();
    std::thread other([&] {
        data = 1;
#ifndef WRONG
        promise.set_value(1);
#endif
    });
    ready.get();
#endif
    assert(data == 1);
    other.join();
}
