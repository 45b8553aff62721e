// Work that threads take from each other item by item, each with scratch memory of its own.
//
//   deal_out(ctx, items, slots, [&](int64_t slot, int64_t i) { ... });        // or, with an order
//   in_slots(ctx, slots, [&](int64_t slot, const auto& more) {                // of one's own:
//       while (more() && (i = ...)) ...
//   });
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>

#include "kernel.h"

namespace penlight::kernels {

// Slots of scratch memory, of which each thread holds one while it works.
class Slots {
  public:
    static constexpr int64_t most = 256;  // threads of a pool

    explicit Slots(int64_t count) : count_(count) {}
    // -1: all are held.
    int64_t take() {
        for (int64_t first = 0; first < count_; first += 64) {
            std::atomic<uint64_t>& held = held_[first / 64];
            uint64_t bits = held.load(std::memory_order_relaxed);
            for (;;) {
                const int64_t slot = first + std::countr_one(bits);
                if (slot >= std::min(count_, first + 64)) break;
                if (held.compare_exchange_weak(bits, bits | uint64_t{1} << (slot - first),
                                               std::memory_order_acquire,
                                               std::memory_order_relaxed))
                    return slot;
            }
        }
        return -1;
    }
    void give(int64_t slot) {
        held_[slot / 64].fetch_and(~(uint64_t{1} << slot % 64), std::memory_order_release);
    }

  private:
    std::atomic<uint64_t> held_[most / 64]{};
    int64_t count_;
};

// work(slot, more) in some threads at once, of which each takes items while there are any and
// more() holds. A thread whose stint is over leaves before, and may come again.
template <class Work> void in_slots(Context& ctx, int64_t slots, const Work& work) {
    const auto always = [] { return true; };
    if (slots > 1) {
        Slots free(slots);
        const auto more = [&] { return !ctx.stint_over(); };
        ctx.parallel_for(slots * ctx.visits(), 1, [&](int64_t, int64_t) {
            const int64_t slot = free.take();
            if (slot < 0) return;
            work(slot, more);
            free.give(slot);
        });
    }
    work(0, always);  // what was left
}

// Items 0 .. count-1 for some threads, each of which goes through a run of its own, so that what it
// reads lies in one piece, and then takes the further half of what another has left.
class Deal {
  public:
    static constexpr int64_t most_slots = 64;

    Deal(int64_t count, int64_t slots) : slots_(slots) {
        for (int64_t s = 0; s < slots; s++)
            runs_[s].ends.store(join(count * s / slots, count * (s + 1) / slots));
    }
    // The next item of a slot, which is one thread's; -1: there are no more.
    int64_t next(int64_t slot) {
        std::atomic<uint64_t>& own = runs_[slot].ends;
        uint64_t ends = own.load(relaxed);
        while (left(ends) > 0)
            if (own.compare_exchange_weak(ends, ends + 1, relaxed)) return first(ends);
        for (int64_t s = 1; s < slots_; s++) {
            std::atomic<uint64_t>& other = runs_[(slot + s) % slots_].ends;
            ends = other.load(relaxed);
            while (left(ends) > 0) {
                const int64_t last = first(ends) + left(ends), middle = last - (left(ends) + 1) / 2;
                if (!other.compare_exchange_weak(ends, join(first(ends), middle), relaxed))
                    continue;
                own.store(join(middle + 1, last), relaxed);
                return middle;
            }
        }
        return -1;
    }

  private:
    static constexpr auto relaxed = std::memory_order_relaxed;
    // The first item in the low half, the one behind the last in the high half.
    static uint64_t join(int64_t first, int64_t last) {
        return static_cast<uint64_t>(last) << 32 | static_cast<uint64_t>(first);
    }
    static int64_t first(uint64_t ends) { return static_cast<int64_t>(ends & UINT32_MAX); }
    static int64_t left(uint64_t ends) { return static_cast<int64_t>(ends >> 32) - first(ends); }

    struct alignas(64) Run {
        std::atomic<uint64_t> ends;
    };
    Run runs_[most_slots];
    int64_t slots_;
};

// item(slot, i) for each i below `count`, with a slot, below `slots`, to each thread.
template <class Item> void deal_out(Context& ctx, int64_t count, int64_t slots, const Item& item) {
    if (slots == 1 || count > UINT32_MAX) {
        for (int64_t i = 0; i < count; i++) item(0, i);
        return;
    }
    Deal deal(count, slots);
    in_slots(ctx, slots, [&](int64_t slot, const auto& more) {
        for (int64_t i; more() && (i = deal.next(slot)) >= 0;) item(slot, i);
    });
}

}  // namespace penlight::kernels
