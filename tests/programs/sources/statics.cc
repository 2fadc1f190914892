// A static variable of a function is made once, whoever comes first; TWICE: one that is made by hand is not.
#include <cassert>
#include <mutex>
#include <thread>

static std::mutex lock;
static int made;

struct Made {
    Made() { std::lock_guard<std::mutex> held(lock); made++; }
};

static void use()
{
#ifdef TWICE
    bool first;
    { std::lock_guard<std::mutex> held(lock); first = made == 0; }
    if (first)
        Made();
#else
    static Made once;
#endif
}

int main()
{
    std::thread one(use), other(use);
    one.join();
    other.join();
    assert(made == 1);
}
