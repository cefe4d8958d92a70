#include "gpu/emulation/machine.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "base/error.h"
#include "gpu/emulation/fiber.h"

#if defined(REALM_EMULATION_TSAN)
#include <sanitizer/tsan_interface.h>
#define REALM_TSAN_RELEASE(at) __tsan_release(at)
#define REALM_TSAN_ACQUIRE(at) __tsan_acquire(at)
#else
#define REALM_TSAN_RELEASE(at) ((void)0)
#define REALM_TSAN_ACQUIRE(at) ((void)0)
#endif

namespace realm::simt {

namespace {

struct Copy {
  unsigned char* to;
  const unsigned char* from;
  size_t bytes, n_valid;
};
using CopyGroup = std::vector<Copy>;

struct Thread {
  Fiber fiber;
  ThreadState state;
  bool done = false;
  const char* waits_for = "";
  std::deque<CopyGroup> committed;
  CopyGroup open;
};

struct Barrier {
  int n_arrived = 0;
  unsigned generation = 0;
  // What the thread sanitizer sees threads meet at, turn by turn: whoever is first at the next
  // barrier must not seem to have been at this one.
  char meeting[2] = {};
};

struct Warp {
  Barrier barrier;
  Slots slots[2];  // turn by turn: a lane may still read one exchange while another fills the next
  unsigned n_exchanges[kWarp] = {};
  size_t bytes = 0;  // of the exchange that is under way, and where the first lane came to it
  int site = 0;
};

struct Machine {
  std::mutex one_launch;
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<Warp> warps;
  Barrier barrier;
  Thread* running = nullptr;
  const std::function<void()>* body = nullptr;
  int n_threads = 0, n_done = 0;
  bool moved = false;  // some thread got further since the last look
  std::vector<std::pair<const void*, size_t>> static_places;
  size_t dynamic_bytes = 0, shared_used = kSharedBytes;
  std::string failure;
  alignas(128) unsigned char shared[kSharedBytes];
};

// Never destroyed: a thread may still compute when the process ends.
Machine& machine() {
  static Machine& one = *new Machine;
  return one;
}

size_t round_up(size_t n, size_t unit) {
  return (n + unit - 1) / unit * unit;
}

// The kernel's own accesses are what a sanitizer shall see, so the machine's must not be memcpy,
// which sanitizers intercept.
void copy_unseen(void* to, const void* from, size_t n) {
  auto* words_out = static_cast<volatile uint32_t*>(to);
  auto* words_in = static_cast<const volatile uint32_t*>(from);
  for (size_t i = 0; i < n / 4; ++i) words_out[i] = words_in[i];
  auto* out = static_cast<volatile unsigned char*>(to);
  auto* in = static_cast<const volatile unsigned char*>(from);
  for (size_t i = n / 4 * 4; i < n; ++i) out[i] = in[i];
}

void wait(Barrier& barrier, int n, const char* name, bool orders_memory) {
  Machine& m = machine();
  Thread& me = *m.running;
  const unsigned generation = barrier.generation;
  if (orders_memory) REALM_TSAN_RELEASE(&barrier.meeting[generation % 2]);
  if (++barrier.n_arrived == n) {
    barrier.n_arrived = 0;
    ++barrier.generation;
    m.moved = true;
  } else {
    me.waits_for = name;
    REALM_TSAN_RELEASE(&m.failure);  // if the launch fails, what was done so far precedes its end
    while (barrier.generation == generation) me.fiber.pause();
  }
  if (orders_memory) REALM_TSAN_ACQUIRE(&barrier.meeting[generation % 2]);
}

// The copy itself is the kernel's access: memcpy, so that sanitizers see both sides.
void land(const CopyGroup& group) {
  for (const Copy& copy : group) {
    std::memcpy(copy.to, copy.from, copy.n_valid);
    std::memset(copy.to + copy.n_valid, 0, copy.bytes - copy.n_valid);
  }
}

void thread_main() {
  Machine& m = machine();
  Thread& me = *m.running;
  me.fiber.arrive();
  REALM_TSAN_ACQUIRE(&m.body);
  try {
    (*m.body)();
  } catch (const std::exception& error) {
    REALM_TSAN_ACQUIRE(&m.failure);  // of the threads of a block several may fail
    if (m.failure.empty()) m.failure = error.what();
    REALM_TSAN_RELEASE(&m.failure);
  }
  me.done = true;
  ++m.n_done;
  m.moved = true;
  REALM_TSAN_RELEASE(&m.n_done);
  me.fiber.leave();
}

void prepare_block(Machine& m, Index grid, Index block, Index at) {
  std::memset(m.shared, 0xff, m.shared_used);
  m.static_places.clear();
  m.shared_used = round_up(m.dynamic_bytes, 128);
  m.barrier = {};
  m.warps.assign(static_cast<size_t>((m.n_threads + kWarp - 1) / kWarp), Warp{});
  m.n_done = 0;
  while (static_cast<int>(m.threads.size()) < m.n_threads)
    m.threads.push_back(std::make_unique<Thread>());
  for (int i = 0; i < m.n_threads; ++i) {
    Thread& thread = *m.threads[static_cast<size_t>(i)];
    const auto n = static_cast<unsigned>(i);
    thread.state = {
        {n % block.x, n / block.x % block.y, n / (block.x * block.y)}, at, block, grid, i};
    thread.done = false;
    thread.committed.clear();
    thread.open.clear();
    thread.fiber.prepare(thread_main);
  }
  REALM_TSAN_RELEASE(&m.body);
}

std::string describe_deadlock(const Machine& m) {
  for (int i = 0; i < m.n_threads; ++i) {
    const Thread& thread = *m.threads[static_cast<size_t>(i)];
    if (thread.done) continue;
    return concat("thread ", i, " of ", m.n_threads, " waits at ", thread.waits_for, ", ", m.n_done,
                  " threads have ended and nobody moves");
  }
  return "nobody moves";
}

void resume(Machine& m, int i) {
  Thread& thread = *m.threads[static_cast<size_t>(i)];
  if (thread.done) return;
  m.running = &thread;
  running = &thread.state;
  thread.fiber.resume();
}

// Lets the threads of a block go as far as they come in their order; whether any moved.
bool take_turns(Machine& m, const std::vector<int>& order) {
  bool moved = false;
  const auto turn = [&](int warp) {
    m.moved = false;
    for (const int i : order)
      if (warp < 0 || i / kWarp == warp) resume(m, i);
    moved = moved || m.moved;
    return m.moved && m.failure.empty();
  };
  if (!settings().warps_run_ahead) {
    turn(-1);
    return moved;
  }
  const int n_warps = (m.n_threads + kWarp - 1) / kWarp, first = order[0] / kWarp;
  for (int n = 0; n < n_warps; ++n) {
    while (turn((first + n) % n_warps)) {
    }
  }
  return moved;
}

void run_block(Machine& m, const std::vector<int>& order) {
  while (m.n_done < m.n_threads) {
    const bool moved = take_turns(m, order);
    if (m.failure.empty() && moved) continue;
    REALM_TSAN_ACQUIRE(&m.failure);
    REALM_TSAN_ACQUIRE(&m.n_done);
    if (!m.failure.empty()) fail(ErrorCode::kInternal, "emulated kernel: ", m.failure);
    fail(ErrorCode::kInternal, "emulated kernel: deadlock: ", describe_deadlock(m));
  }
  REALM_TSAN_ACQUIRE(&m.n_done);
}

}  // namespace

Settings& settings() {
  static Settings one{1, std::getenv("REALM_EARLY_COPIES") ? Copies::kEarly : Copies::kLate, false};
  return one;
}

void run(Index grid, Index block, size_t dynamic_shared_bytes, const std::function<void()>& thread,
         const Limits& limits) {
  Machine& m = machine();
  const std::lock_guard lock(m.one_launch);
  const uint64_t n = uint64_t{block.x} * block.y * block.z;
  if (n == 0 || n > 1024 || dynamic_shared_bytes > limits.shared_bytes || grid.x == 0 ||
      grid.y == 0 || grid.z == 0 || grid.y > limits.blocks_down || grid.z > limits.blocks_down) {
    fail(ErrorCode::kInternal, "emulated launch of ", grid.x, " x ", grid.y, " x ", grid.z,
         " blocks of ", n, " threads with ", dynamic_shared_bytes, " bytes of shared memory");
  }
  m.body = &thread;
  m.n_threads = static_cast<int>(n);
  m.dynamic_bytes = dynamic_shared_bytes;
  m.failure.clear();
  std::vector<int> order(n);
  for (size_t i = 0; i < n; ++i) order[i] = static_cast<int>(i);
  std::mt19937 random(settings().seed);
  if (settings().seed) std::shuffle(order.begin(), order.end(), random);
  Index at;
  for (at.z = 0; at.z < grid.z; ++at.z) {
    for (at.y = 0; at.y < grid.y; ++at.y) {
      for (at.x = 0; at.x < grid.x; ++at.x) {
        prepare_block(m, grid, block, at);
        run_block(m, order);
      }
    }
  }
}

int warp_lanes() {
  return std::min(kWarp, machine().n_threads - self().linear / kWarp * kWarp);
}

void block_barrier() {
  wait(machine().barrier, machine().n_threads, "a barrier of its block", true);
}

void warp_barrier() {
  const auto warp = static_cast<size_t>(self().linear / kWarp);
  wait(machine().warps[warp].barrier, warp_lanes(), "a barrier of its warp", true);
}

void drop_fibers() {
  const std::lock_guard lock(machine().one_launch);
  machine().threads.clear();
}

const Slots& exchange(const void* value, size_t bytes, void (*combine)(Slots&), int site) {
  Warp& warp = machine().warps[static_cast<size_t>(self().linear / kWarp)];
  const int lanes = warp_lanes();
  if (warp.barrier.n_arrived == 0) {
    warp.bytes = bytes;
    warp.site = site;
  } else if (warp.bytes != bytes || warp.site != site) {
    fail(ErrorCode::kInternal, "lanes of a warp meet at different exchanges, of lines ", warp.site,
         " and ", site);
  }
  Slots& slots = warp.slots[warp.n_exchanges[lane()]++ % 2];
  copy_unseen(slots.bytes[lane()], value, bytes);
  if (combine && warp.barrier.n_arrived + 1 == lanes) combine(slots);
  wait(warp.barrier, lanes, "an exchange of its warp", false);
  return slots;
}

void read_slot(const Slots& slots, int from_lane, void* value, size_t bytes) {
  copy_unseen(value, slots.bytes[from_lane % kWarp], bytes);
}

void write_slot(Slots& slots, int to_lane, const void* value, size_t bytes) {
  copy_unseen(slots.bytes[to_lane], value, bytes);
}

void* dynamic_shared() {
  return machine().shared;
}

void* static_shared(const void* key, size_t bytes) {
  Machine& m = machine();
  for (const auto& [name, offset] : m.static_places) {
    if (name == key) return m.shared + offset;
  }
  const size_t offset = m.shared_used;
  if (offset + bytes > kSharedBytes)
    fail(ErrorCode::kInternal, offset + bytes, " bytes of shared memory");
  m.shared_used = offset + round_up(bytes, 16);
  m.static_places.emplace_back(key, offset);
  return m.shared + offset;
}

void require_shared(const void* at, size_t bytes, size_t unit, const char* what) {
  const Machine& m = machine();
  const auto address = reinterpret_cast<uintptr_t>(at),
             base = reinterpret_cast<uintptr_t>(m.shared);
  if (address % unit != 0)
    fail(ErrorCode::kInternal, what, " at an address that is no multiple of ", unit);
  if (address < base || address + bytes > base + kSharedBytes)
    fail(ErrorCode::kInternal, what, " outside of shared memory");
}

void copy_async(void* to, const void* from, size_t bytes, size_t n_valid) {
  require_shared(to, bytes, bytes, "an asynchronous copy");
  if (reinterpret_cast<uintptr_t>(from) % bytes != 0)
    fail(ErrorCode::kInternal, "an asynchronous copy from no multiple of ", bytes, " bytes");
  const Copy copy{static_cast<unsigned char*>(to), static_cast<const unsigned char*>(from), bytes,
                  n_valid};
  if (settings().copies == Copies::kEarly) return land({copy});
  machine().running->open.push_back(copy);
}

void commit_copies() {
  Thread& me = *machine().running;
  me.committed.push_back(std::move(me.open));
  me.open.clear();
}

void await_copies(int n_pending) {
  Thread& me = *machine().running;
  while (static_cast<int>(me.committed.size()) > n_pending) {
    land(me.committed.front());
    me.committed.pop_front();
  }
}

}  // namespace realm::simt
