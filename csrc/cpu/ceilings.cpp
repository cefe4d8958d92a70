// Times the loops of cpu/peak_loops.h on the pool, in slices of some milliseconds, and takes the
// median slice: what the machine gives while it is shared, not its luckiest moment.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "backend/registry.h"
#include "base/cpu_features.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "cpu/pages.h"
#include "cpu/peak_loops.h"

namespace realm {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kMaxSeconds = 60;
constexpr int64_t kChunk = 1 << 20;                // bytes of a chunk of reading
constexpr int64_t kMostToRead = int64_t{1} << 30;  // beyond every cache that one program gets
constexpr int64_t kLeastToRead = 64 * kChunk;
constexpr int64_t kRounds = 20000;             // of multiplication in a chunk, about 0.1 ms
constexpr int64_t kChunksPerThread = 32;       // in a slice
constexpr int64_t kAhead[] = {0, 2048, 4096};  // distances of prefetch, in bytes

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

void stop_if(const std::atomic<bool>* cancel) {
  if (cancel != nullptr && *cancel) fail(ErrorCode::kCancelled, "the measurement was cancelled");
}

// The median of slice() for about `seconds`, at least three slices.
double median_slice(double seconds, const std::atomic<bool>* cancel,
                    const std::function<double()>& slice) {
  std::vector<double> rates;
  for (const auto start = Clock::now(); rates.size() < 3 || seconds_since(start) < seconds;) {
    stop_if(cancel);
    rates.push_back(slice());
  }
  return median(rates);
}

// Operations a second of all threads together.
double multiply_rate(ThreadPool& pool, int64_t (*loop)(int64_t rounds)) {
  const int64_t n = kChunksPerThread * pool.n_threads();
  std::atomic<int64_t> done{0};
  const auto start = Clock::now();
  pool.run(n, [&](int64_t) { done += loop(kRounds); });
  return static_cast<double>(done) / seconds_since(start);
}

double clock_rate() {
  constexpr int64_t kAdditions = 16 * kRounds;
  const auto start = Clock::now();
  cpu::add_in_a_chain(kRounds);
  return static_cast<double>(kAdditions) / seconds_since(start);
}

// Memory that is in use for real, each page written by a thread of the pool.
class Touched {
 public:
  Touched(ThreadPool& pool, int64_t bytes)
      : bytes_(bytes), pages_(static_cast<uint64_t>(bytes), "reading") {
    pool.run(bytes_ / kChunk,
             [&](int64_t i) { std::memset(pages_.begin() + i * kChunk, 1, kChunk); });
  }

  const uint8_t* data() const { return pages_.begin(); }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_;
  cpu::Pages pages_;
};

double read_rate(ThreadPool& pool, const Touched& memory, const cpu::PeakLoops& loops,
                 int64_t ahead) {
  const auto start = Clock::now();
  pool.run(memory.bytes() / kChunk,
           [&](int64_t i) { loops.read(memory.data() + i * kChunk, kChunk, ahead); });
  return static_cast<double>(memory.bytes()) / seconds_since(start);
}

// The best of the ways to read: which one it is differs between processors.
double best_read_rate(ThreadPool& pool, const cpu::PeakLoops& loops, double seconds,
                      const std::atomic<bool>* cancel) {
  const int64_t bytes =
      std::clamp(static_cast<int64_t>(available_memory() / 4), kLeastToRead, kMostToRead);
  const Touched memory(pool, bytes / kChunk * kChunk);
  double best = 0;
  for (const int64_t ahead : kAhead) {
    const auto slice = [&] { return read_rate(pool, memory, loops, ahead); };
    best = std::max(best, median_slice(seconds / std::size(kAhead), cancel, slice));
  }
  return best;
}

}  // namespace

Ceilings measure_cpu_ceilings(int n_threads, double seconds, const std::atomic<bool>* cancel) {
  REALM_CHECK(seconds > 0 && seconds <= kMaxSeconds, "seconds is ", seconds,
              "; must be above 0 to ", kMaxSeconds);
  const CpuLevel level = active_cpu_level();
  const cpu::PeakLoops loops = cpu::peak_loops(level);
  const auto pool = ThreadPool::shared(n_threads > 0 ? n_threads : usable_processors());
  const auto multiply = [&](int64_t (*loop)(int64_t)) {
    return median_slice(seconds / 4, cancel, [&] { return multiply_rate(*pool, loop); });
  };
  Ceilings found;
  found.level = cpu_level_name(level);
  found.n_threads = pool->n_threads();
  found.read_bytes_per_s = best_read_rate(*pool, loops, seconds * 0.45, cancel);
  found.int8_macs_per_s = multiply(loops.multiply_i8);
  found.f32_macs_per_s = multiply(loops.multiply_f32);
  found.clock_hz = median_slice(seconds * 0.05, cancel, clock_rate);
  return found;
}

}  // namespace realm
