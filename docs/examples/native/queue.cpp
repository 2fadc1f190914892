// A queue that its users wait at. put() wakes a waiter only where the queue was empty: when two items come before the first
// waiter has gone on, the second waiter sleeps beside an item. The wake-up is lost.
//
//   anonvma-rt hunt queue.cpp                # a deadlock
//   anonvma-rt verify queue.cpp -p FIXED=1   // never

#include <cassert>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#ifndef FIXED
#define FIXED 0
#endif
#ifndef ITEMS
#define ITEMS 2
#endif

class Queue {
public:
    void put(int item)
    {
        std::lock_guard<std::mutex> guard(lock);
        bool was_empty = items.empty();
        items.push_back(item);
        if (FIXED || was_empty)
            filled.notify_one();
    }

    int take()
    {
        std::unique_lock<std::mutex> guard(lock);
        filled.wait(guard, [this] { return !items.empty(); });
        int item = items.front();
        items.pop_front();
        return item;
    }

private:
    std::mutex lock;
    std::condition_variable filled;
    std::deque<int> items;
};

int main()
{
    Queue queue;
    int taken[ITEMS];
    std::vector<std::thread> takers;
    for (int i = 0; i < ITEMS; i++)
        takers.emplace_back([&queue, &taken, i] { taken[i] = queue.take(); });
    int sum = 0;
    for (int i = 1; i <= ITEMS; i++)
        queue.put(i);
    for (auto &taker : takers)
        taker.join();
    for (int item : taken)
        sum += item;
    assert(sum == ITEMS * (ITEMS + 1) / 2);
}
