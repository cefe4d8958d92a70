// Every barrier of the Metal kernels is needed, and its loss is seen: each is left out in turn, and
// some result must then differ, in one order of threads or another, or the emulated device must
// report that it stands still.
#include <cstring>
#include <numeric>
#include <sys/wait.h>
#include <unistd.h>

#include "cpp/harness.h"
#include "cpp/metal_device.h"
#include "gpu/emulation/machine.h"
#include "metal/emulation/barriers.h"
#include "metal/kernels.h"
#include "metal/metal_backend.h"

using namespace realm;
using test::Floats;
using test::MetalDevice;

namespace {

void append(Floats& all, const Floats& more) {
  all.insert(all.end(), more.begin(), more.end());
}

// Attention of a prompt and of a row behind it, through the kernels that the width and the number
// of rows choose.
Floats attention(int64_t width) {
  MetalDevice device;
  constexpr int32_t kRows = 40;
  const std::vector<int32_t> pages{1, 0};
  const KvLayer cache{device.bytes(2 * device.backend->kv_page_bytes(KvType::kF16, 1, width)),
                      KvType::kF16, 1, width, 2};
  const Floats q = test::normal_values(2 * kRows * width, 1),
               k = test::normal_values(kRows * width, 2), v = test::normal_values(kRows * width, 3);
  Floats all;
  const auto step = [&](int32_t first, int32_t n) {
    std::vector<int32_t> tokens(static_cast<size_t>(n)), positions(tokens.size());
    std::iota(positions.begin(), positions.end(), first);
    const SequenceSpan span{0, n, first, 64, pages};
    const StepBatch batch{tokens, positions, {&span, 1}, {}};
    const auto rows = [&](const Floats& values, int64_t heads) {
      const auto begin = values.begin() + first * heads * width;
      return device.matrix(n, Floats(begin, begin + n * heads * width));
    };
    const Matrix out = device.poisoned(n, 2 * width);
    device.backend->store_kv(batch, cache, rows(k, 1), rows(v, 1));
    device.backend->attend(batch, cache, {2, 1, width, 0.2f}, rows(q, 2), out);
    append(all, device.read(out));
  };
  step(0, kRows - 1);
  step(kRows - 1, 1);
  return all;
}

Floats norms() {
  MetalDevice device;
  const Floats x = test::normal_values(2 * 600, 4);
  const Vector weight = device.vector(test::normal_values(600, 5));
  const Matrix in = device.matrix(2, x), out = device.poisoned(2, 600);
  device.backend->norm(NormKind::kRms, in, weight, {}, 1e-5f, out);
  Floats all = device.read(out);
  device.backend->norm(NormKind::kLayer, in, weight, weight, 1e-5f, out);
  append(all, device.read(out));
  return all;
}

Floats product() {
  MetalDevice device;
  const Floats values = test::normal_values(70 * 96, 6);
  const auto weight =
      device.backend->load_weight({DType::kF32, 70, 96, std::as_bytes(std::span(values)), nullptr});
  const Matrix out = device.poisoned(20, 70);
  const Product one{*weight, {}, out};
  device.backend->linear({&one, 1}, device.matrix(20, test::normal_values(20 * 96, 7)));
  return device.read(out);
}

Floats mixture() {
  MetalDevice device;
  constexpr int64_t kRows = 12, kWidth = 32, kExperts = 9, kUsed = 2, kN = kRows * kUsed;
  const Floats values = test::normal_values(kExperts * kWidth * kWidth, 8);
  const auto bank = device.backend->load_weight(
      {DType::kF32, kExperts * kWidth, kWidth, std::as_bytes(std::span(values)), nullptr});
  const Matrix ids = device.poisoned(kRows, kUsed), weights = device.poisoned(kRows, kUsed);
  const Routing routing{reinterpret_cast<int32_t*>(ids.data), weights.data, kUsed};
  const Matrix in = device.matrix(kRows, test::normal_values(kRows * kWidth, 9));
  const Matrix out = device.poisoned(kRows, kWidth);
  const auto scratch = [&] { return device.poisoned(kN, kWidth); };
  device.backend->route(device.matrix(kRows, test::normal_values(kRows * kExperts, 10)), true,
                        routing);
  device.backend->experts({bank.get(), bank.get(), bank.get(), kExperts}, Activation::kSilu, in,
                          routing, {scratch(), scratch(), scratch(), scratch()}, out);
  return device.read(out);
}

Floats choice() {
  MetalDevice device;
  const Matrix out = device.poisoned(3, 1);
  static_cast<metal::MetalBackend&>(*device.backend)
      .choose_largest(device.matrix(3, test::normal_values(3 * 500, 11)),
                      reinterpret_cast<int32_t*>(out.data));
  return device.read(out);
}

using Work = Floats (*)();
constexpr Work kWorks[] = {norms,
                           product,
                           mixture,
                           choice,
                           [] { return attention(40); },
                           [] { return attention(256); },
                           [] { return attention(300); }};

// What the work gives; empty if the device reported an error.
Floats outcome(Work work) {
  try {
    return work();
  } catch (const Error&) {
    return {};
  }
}

struct Restore {
  simt::Settings settings = simt::settings();
  ~Restore() {
    simt::settings() = settings;
    simt::barriers() = {};
  }
};

bool same(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Whether the work still gives what it should. In a child process: without a barrier a kernel may
// write anywhere.
bool still_gives(Work work, const Floats& expected) {
  simt::drop_fibers();
  const pid_t child = fork();
  if (child == 0) _exit(same(outcome(work), expected) ? 0 : 1);
  int status = -1;
  waitpid(child, &status, 0);
  return status == 0;
}

size_t barriers_in_source() {
  const std::string_view source = metal::kKernelSource;
  size_t n = 0;
  for (const std::string_view name : {"threadgroup_barrier(mem", "simdgroup_barrier(mem"})
    for (size_t at = source.find(name); at != source.npos; at = source.find(name, at + 1)) ++n;
  return n;
}

}  // namespace

TEST(the_loss_of_any_barrier_is_seen) {
#if defined(__SANITIZE_THREAD__)
  return;  // it would end this program, as it should
#endif
  const Restore restore;
  simt::Barriers& barriers = simt::barriers();
  std::vector<std::set<simt::BarrierPlace>> of_work;
  std::vector<Floats> expected;
  std::set<simt::BarrierPlace> all;
  for (const Work work : kWorks) {
    barriers = {.is_watched = true, .left_out = {}, .seen = {}};
    expected.push_back(work());
    of_work.push_back(barriers.seen);
    all.insert(barriers.seen.begin(), barriers.seen.end());
  }
  EXPECT_EQ(all.size(), barriers_in_source());
  for (const simt::BarrierPlace& place : all) {
    bool is_seen = false;
    for (unsigned seed = 0; seed < 8 && !is_seen; ++seed) {
      for (size_t i = 0; i < of_work.size() && !is_seen; ++i) {
        if (!of_work[i].contains(place)) continue;
        simt::settings().seed = seed / 2;
        simt::settings().warps_run_ahead = seed % 2 == 1;
        barriers.left_out = place;
        is_seen = !still_gives(kWorks[i], expected[i]);
      }
    }
    if (!is_seen) test::report_failure(__FILE__, __LINE__, concat(place.first, ":", place.second));
  }
}
