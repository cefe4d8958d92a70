// The emulated device itself: it runs what a GPU runs, and it finds what a GPU would hide. Five
// defects are planted in small kernels; each must be found in the way that its kind is found.
#include <cmath>
#include <cstdio>
#include <random>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "cpp/harness.h"
#include "cuda/device/async_copy.cuh"
#include "cuda/device/mma.cuh"
#include "cuda/device/warp.cuh"
#include "cuda/emulation/memory.h"
#include "cuda/emulation/runtime.h"

using namespace realm;
using namespace realm::cuda;

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif
#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

enum class Defect { kNone, kNoBarrier, kNoWait, kOverwrite, kOutside, kDivergent };

// The sum of 128 values by two warps and their partial sums: out[0].
template <Defect kDefect>
__global__ void sum_kernel(const float* in, float* out) {
  REALM_SHARED(float, parts, 4);
  const int i = static_cast<int>(threadIdx.x);
  const float mine = warp_sum(in[kDefect == Defect::kOutside ? i + 1 : i]);
  if (lane_index() == 0) parts[warp_index()] = mine;
  if (kDefect == Defect::kDivergent) {
    if (warp_index() != 1) __syncthreads();
  } else if (kDefect != Defect::kNoBarrier) {
    __syncthreads();
  }
  if (i == 0) out[0] = parts[0] + parts[1] + parts[2] + parts[3];
}

// Copies `n_steps` tiles of 128 floats through two stages of shared memory, each thread adding the
// value that another thread brought.
template <Defect kDefect>
__global__ void stream_kernel(const float* in, float* out, int n_steps) {
  REALM_SHARED(float, stages, 2 * 128);
  const int i = static_cast<int>(threadIdx.x);
  const auto load = [&](int step) {
    if (i < 32 && step < n_steps)
      copy16_async(stages + step % 2 * 128 + i * 4, in + step * 128 + i * 4, true);
    commit_copies();
  };
  float sum = 0;
  load(0);
  for (int step = 0; step < n_steps; ++step) {
    load(step + 1);
    if (kDefect != Defect::kNoWait) await_copies<1>();
    __syncthreads();
    sum += stages[step % 2 * 128 + 127 - i];
    if (kDefect != Defect::kOverwrite) __syncthreads();
  }
  out[i] = sum;
}

enum class Broken { kNothing, kDivergent, kSharedAddress, kGlobalAddress, kMatrixRow, kOutside };

// Breaks a rule of an instruction that a device would answer with anything or nothing at all.
template <Broken kBroken>
__global__ void rules_kernel(const float* in, float* out) {
  REALM_SHARED(float, shared, 8 * 32);
  const int lane = lane_index();
  float sum = 1;
  if (kBroken == Broken::kDivergent && lane % 2 == 0) {
    sum = shuffle_xor(sum, 1);
  } else {
    sum = shuffle_xor(sum, 2);
  }
  float* to = kBroken == Broken::kOutside ? out : shared;
  copy16_async(to + 4 * lane + (kBroken == Broken::kSharedAddress ? 1 : 0),
               in + 4 * lane + (kBroken == Broken::kGlobalAddress ? 2 : 0), true);
  commit_copies();
  await_copies<0>();
  __syncthreads();
  uint32_t r[4];
  load_matrices(r, shared + 4 * lane + (kBroken == Broken::kMatrixRow ? 2 : 0));
  out[lane] = sum + bits_as_float(r[0]);
}

template <Broken kBroken>
void break_rule() {
  alignas(16) static float in[160] = {}, out[160];
  REALM_LAUNCH(rules_kernel<kBroken>, dim3(1), dim3(32), 0, nullptr, in, out);
}

std::vector<float> random_values(size_t n) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

template <Defect kDefect>
double error_of_sum() {
  const std::vector<float> in = random_values(128);
  float out = NAN;
  REALM_LAUNCH(sum_kernel<kDefect>, dim3(1), dim3(128), 0, nullptr, in.data(), &out);
  double expected = 0;
  for (const float value : in) expected += value;
  return std::abs(out - expected);
}

template <Defect kDefect>
double error_of_stream() {
  constexpr int kSteps = 5;
  alignas(16) static float in[kSteps * 128];
  const std::vector<float> values = random_values(kSteps * 128);
  std::copy(values.begin(), values.end(), in);
  std::vector<float> out(128, NAN);
  REALM_LAUNCH(stream_kernel<kDefect>, dim3(1), dim3(128), 0, nullptr, in, out.data(), kSteps);
  double worst = 0;
  for (int i = 0; i < 128; ++i) {
    double expected = 0;
    for (int step = 0; step < kSteps; ++step) expected += in[step * 128 + 127 - i];
    const double error = std::abs(out[static_cast<size_t>(i)] - expected);
    worst = error >= worst ? error : error != error ? INFINITY : worst;
  }
  return worst;
}

// Runs `body` in a child; what it wrote to stderr, with the way it ended in front.
std::string outcome_in_child(void (*body)()) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  simt::drop_fibers();
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 2);
    close(ends[0]);
    close(ends[1]);
    body();
    std::exit(0);
  }
  close(ends[1]);
  std::string text;
  char piece[4096];
  for (ssize_t n; (n = read(ends[0], piece, sizeof piece)) > 0;)
    text.append(piece, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return concat(status == 0 ? "passed" : "failed", "\n", text);
}

struct Restore {  // of the settings that a test changes
  simt::Settings before = simt::settings();
  ~Restore() { simt::settings() = before; }
};

}  // namespace

TEST(kernels_without_a_defect_are_right_in_every_order_of_threads) {
  const Restore restore;
  for (const auto copies : {simt::Copies::kLate, simt::Copies::kEarly}) {
    for (unsigned seed = 0; seed < 8; ++seed) {
      simt::settings() = {seed, copies};
      EXPECT(error_of_sum<Defect::kNone>() < 1e-4);
      EXPECT(error_of_stream<Defect::kNone>() < 1e-4);
    }
  }
}

TEST(a_missing_barrier_gives_a_wrong_result) {
  if (kThreadSanitizer) {  // which would fail this program for it
    const std::string text = outcome_in_child([] { error_of_sum<Defect::kNoBarrier>(); });
    EXPECT(test::contains(text, "failed") && test::contains(text, "data race"));
  } else {
    EXPECT(!(error_of_sum<Defect::kNoBarrier>() < 1e-4));
  }
}

TEST(a_missing_wait_gives_a_wrong_result) {
  const Restore restore;
  simt::settings().copies = simt::Copies::kLate;  // as late as a device may be
  EXPECT(!(error_of_stream<Defect::kNoWait>() < 1e-4));
}

TEST(a_barrier_that_not_all_threads_reach_is_reported) {
  const std::string text = EXPECT_ERROR(kInternal, { error_of_sum<Defect::kDivergent>(); });
  EXPECT(test::contains(text, "deadlock") && test::contains(text, "waits at"));
  EXPECT(error_of_sum<Defect::kNone>() < 1e-4);  // the machine goes on
}

TEST(an_access_out_of_bounds_is_found_by_the_address_sanitizer) {
  if (!kAddressSanitizer) return;
  const std::string text = outcome_in_child([] { error_of_sum<Defect::kOutside>(); });
  EXPECT(test::contains(text, "failed") && test::contains(text, "heap-buffer-overflow"));
  EXPECT(test::contains(text, "sum_kernel"));
  const std::string sound = outcome_in_child([] { error_of_sum<Defect::kNone>(); });
  EXPECT(test::contains(sound, "passed"));
}

TEST(a_stage_that_is_overwritten_too_early_gives_a_wrong_result_when_warps_stall) {
  if (kThreadSanitizer) return;  // which finds it in its own way, below
  const Restore restore;
  simt::settings() = {.seed = 0, .copies = simt::Copies::kEarly, .warps_run_ahead = true};
  EXPECT(!(error_of_stream<Defect::kOverwrite>() < 1e-4));
  EXPECT(error_of_stream<Defect::kNone>() < 1e-4);
}

TEST(a_stage_that_is_overwritten_too_early_is_a_race_to_the_thread_sanitizer) {
  if (!kThreadSanitizer) return;
  const Restore restore;
  simt::settings().copies = simt::Copies::kEarly;
  const std::string text = outcome_in_child([] { error_of_stream<Defect::kOverwrite>(); });
  EXPECT(test::contains(text, "failed") && test::contains(text, "data race"));
  const std::string sound = outcome_in_child([] { error_of_stream<Defect::kNone>(); });
  EXPECT(test::contains(sound, "passed"));
}

TEST(rules_of_instructions_are_held) {
  const auto what = [](void (*body)()) { return EXPECT_ERROR(kInternal, { body(); }); };
  break_rule<Broken::kNothing>();
  EXPECT(test::contains(what(break_rule<Broken::kDivergent>), "different exchanges"));
  EXPECT(test::contains(what(break_rule<Broken::kSharedAddress>), "no multiple of 16"));
  EXPECT(test::contains(what(break_rule<Broken::kGlobalAddress>), "from no multiple of 16"));
  EXPECT(test::contains(what(break_rule<Broken::kMatrixRow>), "a matrix's row"));
  EXPECT(test::contains(what(break_rule<Broken::kOutside>), "outside of shared memory"));
  const std::string text = EXPECT_ERROR(kInternal, {
    REALM_LAUNCH(rules_kernel<Broken::kNothing>, dim3(1), dim3(48), 0, nullptr, nullptr, nullptr);
  });
  EXPECT(test::contains(text, "no whole warps"));
}

TEST(memory_of_the_device_is_counted_and_starts_as_nan) {
  const uint64_t before = simt::device_state().used_bytes;
  auto* memory = static_cast<float*>(allocate_memory(40));
  {
    const simt::Visible visible;
    EXPECT(std::isnan(memory[0]) && std::isnan(memory[9]));
  }
  EXPECT_EQ(simt::device_state().used_bytes, before + 40);
  free_memory(memory);
  EXPECT_EQ(simt::device_state().used_bytes, before);
  EXPECT(allocate_memory(uint64_t{1} << 40) == nullptr);
}

TEST(memory_of_the_device_is_good_in_kernels_and_copies_alone) {
  static float* memory = static_cast<float*>(allocate_memory(128 * sizeof(float)));
  const std::vector<float> in = random_values(128);
  copy_to_device(memory, in.data(), 128 * sizeof(float), nullptr);
  float out = NAN, expected = 0;
  REALM_LAUNCH(sum_kernel<Defect::kNone>, dim3(1), dim3(128), 0, nullptr, memory, &out);
  for (const float value : in) expected += value;
  EXPECT(std::abs(out - expected) < 1e-4);
  std::vector<float> back(128);
  copy_to_host(back.data(), memory, 128 * sizeof(float), nullptr);
  EXPECT(back == in);
  if (!kAddressSanitizer && !kThreadSanitizer) {  // whose memory is the heap's
    const std::string text =
        outcome_in_child([] { std::fprintf(stderr, "seen: %f\n", double{memory[3]}); });
    EXPECT(test::contains(text, "failed") && !test::contains(text, "seen"));
  }
  free_memory(memory);
}

TEST(a_launch_that_no_device_takes_is_refused) {
  EXPECT_ERROR(kInternal, { simt::run({1, 1, 1}, {2000, 1, 1}, 0, [] {}); });
  EXPECT_ERROR(kInternal, { simt::run({1, 1, 1}, {32, 1, 1}, 300 << 10, [] {}); });
}
