// A queue whose consumers wait at a condition variable. Its put() wakes one only where the queue was empty, and so loses a
// wake-up; with -DRIGHT it always does.
#include <condition_variable>
#include <mutex>
#include <queue>
#include <thread>

class Queue {
    std::mutex lock;
    std::condition_variable some;
    std::queue<int> items;

public:
    void put(int item)
    {
        std::lock_guard<std::mutex> held(lock);
        bool was_empty = items.empty();
        items.push(item);
#ifdef RIGHT
        was_empty = true;
#endif
        if (was_empty)
            some.notify_one();
    }

    int get()
    {
        std::unique_lock<std::mutex> held(lock);
        some.wait(held, [this] { return !items.empty(); });
        int item = items.front();
        items.pop();
        return item;
    }
};

int main()
{
    Queue queue;
    std::thread one([&] { queue.get(); }), other([&] { queue.get(); });
    queue.put(1);
    queue.put(2);
    one.join();
    other.join();
}
