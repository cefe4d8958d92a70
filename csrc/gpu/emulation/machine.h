// A GPU made of one processor thread. Blocks of a grid run one after another; the threads
// of a block are fibers, taken in an order that a seed shuffles, each running until it waits. What
// a GPU leaves open is resolved in the way that hurts most: shared memory starts as NaN, and an
// asynchronous copy arrives only when it is waited for.
//
// It finds missing barriers (wrong values), barriers that not all threads reach (an error that says
// who waits), asynchronous copies that nobody waits for (NaN), and under the sanitizers accesses
// out of bounds and races. It shows nothing of speed. One launch at a time in a process: run()
// holds a lock. An error leaves the fibers where they stood and is thrown by run().
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace realm::simt {

constexpr int kWarp = 32;
constexpr size_t kSlotBytes = 64;                  // of what a lane shows to its warp at a time
constexpr size_t kSharedBytes = size_t{99} << 10;  // of a block: what the machine has

// What a launch may ask for; as it stands, on the smallest CUDA device we build for.
struct Limits {
  size_t shared_bytes = kSharedBytes;
  unsigned blocks_down = 65535;  // of a grid's second and third dimension
};

struct Index {
  unsigned x = 1, y = 1, z = 1;
};

// ---- the host's side

// Runs `thread` once for every thread of the grid. Throws kInternal for a deadlock and for a launch
// beyond the limits.
void run(Index grid, Index block, size_t dynamic_shared_bytes, const std::function<void()>& thread,
         const Limits& limits = {});

// Gives back the fibers, which are kept from launch to launch. Before a fork: the thread sanitizer
// takes them for threads, and watches no child of a process that had several.
void drop_fibers();

enum class Copies { kLate, kEarly };  // arriving at their wait, or at once: races show with these
struct Settings {
  unsigned seed = 1;  // of the order of threads; 0: ascending
  Copies copies = Copies::kLate;
  // Each warp runs as far as it can before the next one starts, as if that had stalled: what one
  // overwrites while another has still to read it shows so.
  bool warps_run_ahead = false;
};
Settings& settings();

// ---- the side of a running thread

struct ThreadState {
  Index thread, block, block_size, grid_size;
  int linear = 0;  // thread index in its block
};
inline const ThreadState* running = nullptr;
inline const ThreadState& self() {
  return *running;
}
inline int lane() {
  return self().linear % kWarp;
}
int warp_lanes();  // the last warp of a block may be short

void block_barrier();
void warp_barrier();  // orders memory; exchange() alone does not, as on the device

// What the lanes of a warp show each other: every lane deposits, all wait for all. The last to come
// calls `combine`, which may replace the slots by results.
struct Slots {
  alignas(16) unsigned char bytes[kWarp][kSlotBytes];
};
// Lanes that meet at different exchanges (by `site`, which tells them apart) are an error: a device
// would give anything.
const Slots& exchange(const void* value, size_t bytes, void (*combine)(Slots&) = nullptr,
                      int site = 0);
// Registers are no memory: sanitizers do not see these.
void read_slot(const Slots& slots, int lane, void* value, size_t bytes);
void write_slot(Slots& slots, int lane, const void* value, size_t bytes);

void* dynamic_shared();
// The same memory for all threads of a block that name the same key.
void* static_shared(const void* key, size_t bytes);

// Of bytes that an instruction moves at once: their address must be a multiple of `unit`, and in
// shared memory.
void require_shared(const void* at, size_t bytes, size_t unit, const char* what);

// An asynchronous copy of `bytes`, of which the first `n_valid` are copied and the rest are zeros.
void copy_async(void* to, const void* from, size_t bytes, size_t n_valid);
void commit_copies();
void await_copies(int n_pending);  // until at most so many committed groups are on their way

}  // namespace realm::simt
