// Attention through the CPU backend: how a step is shared out to threads, and cut into steps, does
// not show in its bits; a cancelled step ends soon.
#include <atomic>
#include <chrono>
#include <thread>

#include "backend/backend.h"
#include "backend/registry.h"
#include "cpp/levels.h"

using namespace realm;
using test::Floats, test::random_floats, test::same_bits;

namespace {

struct Heads {
  int64_t query, kv, width;
};

// One sequence on scattered pages of a cache whose other bytes are NaN.
struct Sequence {
  Backend& backend;
  Heads heads;
  KvType type;
  int64_t length;
  std::vector<int32_t> pages = {};
  std::unique_ptr<Buffer> memory = {};
  KvLayer cache = {};

  Sequence(Backend& b, Heads h, KvType t, int64_t n) : backend(b), heads(h), type(t), length(n) {
    const int64_t n_pages = 2 * ((n + 15) / 16);
    for (int64_t i = 0; i < n_pages / 2; ++i)
      pages.push_back(static_cast<int32_t>(n_pages - 1 - 2 * i));
    memory = backend.allocate(
        static_cast<uint64_t>(n_pages * backend.kv_page_bytes(type, heads.kv, heads.width)));
    std::memset(memory->data(), 255, memory->bytes());
    cache = {memory->data(), type, heads.kv, heads.width, n_pages};
    const int64_t cols = heads.kv * heads.width;
    Floats k = random_floats(static_cast<size_t>(n * cols), 1, 1.0f),
           v = random_floats(static_cast<size_t>(n * cols), 2, 1.0f);
    const std::vector<int32_t> ids(static_cast<size_t>(n), 0);
    const SequenceSpan span{0, int32_t(n), 0, int32_t(n), pages};
    backend.store_kv({ids, ids, {&span, 1}, {}}, cache, {k.data(), n, cols}, {v.data(), n, cols});
  }

  // The last `n_rows` rows, `chunk` of them in a step.
  Floats attend(int64_t n_rows, int64_t chunk, int64_t window) {
    const int64_t cols = heads.query * heads.width;
    Floats q = random_floats(static_cast<size_t>(n_rows * cols), 3, 1.0f), out(q.size());
    const AttentionShape shape{heads.query, heads.kv, heads.width, 0.2f, 0, window};
    for (int64_t row = 0; row < n_rows; row += chunk) {
      const int64_t n = std::min(chunk, n_rows - row);
      const std::vector<int32_t> ids(static_cast<size_t>(n), 0);
      const SequenceSpan span{0, int32_t(n), int32_t(length - n_rows + row), int32_t(length),
                              pages};
      backend.attend({ids, ids, {&span, 1}, {}}, cache, shape, {&q[size_t(row * cols)], n, cols},
                     {&out[size_t(row * cols)], n, cols});
    }
    return out;
  }
};

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

TEST(threads_and_chunks_do_not_show_in_the_bits_of_attention) {
  // One KV head over a long context is shared out by stretches of its keys, the others by heads.
  const Heads shapes[] = {{4, 1, 32}, {6, 2, 48}, {5, 5, 16}, {14, 2, 64}};
  for (const Heads& heads : shapes) {
    for (const int64_t window : {0, 1500}) {
      const auto alone = make_cpu_backend(1);
      const Floats expected = Sequence(*alone, heads, KvType::kF16, 3100).attend(9, 9, window);
      for (const float value : expected) EXPECT(std::isfinite(value));
      for (const int n_threads : {1, 2, 5}) {
        const auto backend = make_cpu_backend(n_threads);
        Sequence sequence(*backend, heads, KvType::kF16, 3100);
        for (const int64_t chunk : {1, 2, 9}) {
          EXPECT(same_bits(sequence.attend(9, chunk, window), expected));
        }
      }
    }
  }
}

TEST(a_cancelled_step_leaves_attention_soon) {
  const auto backend = make_cpu_backend(2);
  Sequence sequence(*backend, {32, 32, 64}, KvType::kF16, 8192);
  const auto begin_short = Clock::now();
  sequence.attend(64, 64, 0);
  const double whole = seconds_since(begin_short) * 32;  // of 2048 rows, estimated
  std::atomic<bool> cancelled{false};
  backend->watch(&cancelled);
  Clock::time_point at;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    at = Clock::now();
    cancelled = true;
  });
  sequence.attend(2048, 2048, 0);
  const double late = seconds_since(at);
  other.join();
  EXPECT(late < std::max(0.05, whole / 8));
  EXPECT_ERROR(kCancelled, { backend->check_cancelled(); });
  backend->watch(nullptr);
}
