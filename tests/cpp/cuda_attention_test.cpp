// Attention of the CUDA backend on the emulated device: the plain kernel and the tiled ones against
// float64 over the cached values, in shapes that end in the middle of everything: head widths,
// groups, windows, soft caps, pages and splits. The cache is full of NaN before the rows are
// stored.
#include <cstring>

#include "base/half.h"
#include "cpp/cuda_device.h"
#include "cpp/harness.h"

using namespace realm;
using test::CudaDevice;
using test::Doubles;
using test::Floats;

namespace {

struct Case {
  int64_t width, n_kv_heads, group;
  KvType type = KvType::kF16;
  int64_t window = 0;
  float softcap = 0;
};

// A sequence with its keys and values, and how much of it each step takes.
struct Sequence {
  Floats q, k, v;  // [tokens, heads, width]
  std::vector<int32_t> pages;
  int32_t done = 0;
};

float cached(float x, KvType type) {
  if (type == KvType::kF16) return f16_to_f32(f32_to_f16(x));
  if (type == KvType::kBF16) return bf16_to_f32(f32_to_bf16(x));
  return x;
}

// Rows first .. first + n - 1 of the sequence, [n, heads, width].
Doubles reference(const Sequence& s, const Case& c, int64_t first, int64_t n) {
  const int64_t heads = c.n_kv_heads * c.group;
  const double scale = 1 / std::sqrt(static_cast<double>(c.width));
  Doubles out;
  for (int64_t pos = first; pos < first + n; ++pos) {
    const int64_t begin = c.window > 0 ? std::max<int64_t>(0, pos - c.window + 1) : 0;
    for (int64_t head = 0; head < heads; ++head) {
      const float* q = &s.q[static_cast<size_t>((pos * heads + head) * c.width)];
      Doubles weights, sum(static_cast<size_t>(c.width));
      double total = 0;
      for (int64_t key = begin; key <= pos; ++key) {
        const auto at = static_cast<size_t>((key * c.n_kv_heads + head / c.group) * c.width);
        double score = 0;
        for (size_t d = 0; d < static_cast<size_t>(c.width); ++d)
          score += double{q[d]} * cached(s.k[at + d], c.type);
        score *= scale;
        if (c.softcap > 0) score = c.softcap * std::tanh(score / c.softcap);
        const double weight = std::exp(score);
        total += weight;
        for (size_t d = 0; d < static_cast<size_t>(c.width); ++d)
          sum[d] += weight * cached(s.v[at + d], c.type);
      }
      for (const double value : sum) out.push_back(value / total);
    }
  }
  return out;
}

double tolerance(KvType type) {
  switch (type) {
    case KvType::kF32:
      return 2e-6;
    case KvType::kF16:  // of queries and weights
      return 1.5e-3;
    case KvType::kBF16:
      return 1e-2;
    case KvType::kQ8_0:
      return 2e-2;
  }
  return 0;
}

class Run {
 public:
  Run(const Case& c, std::vector<int64_t> lengths, bool deterministic = false)
      : case_(c), device_(deterministic) {
    const int64_t page = device_.backend->kv_page_tokens();
    int32_t n_pages = 1;  // page 0 stays NaN
    for (const int64_t n : lengths) {
      Sequence s;
      s.q = test::normal_values(n * heads() * c.width, static_cast<unsigned>(n));
      s.k = test::normal_values(n * c.n_kv_heads * c.width, static_cast<unsigned>(n + 1));
      s.v = test::normal_values(n * c.n_kv_heads * c.width, static_cast<unsigned>(n + 2));
      for (int64_t i = 0; i < n; i += page) s.pages.insert(s.pages.begin(), n_pages++);
      sequences_.push_back(std::move(s));
    }
    const int64_t bytes = device_.backend->kv_page_bytes(c.type, c.n_kv_heads, c.width);
    cache_ = {device_.bytes(n_pages * bytes), c.type, c.n_kv_heads, c.width, n_pages};
  }

  // One step of `rows[i]` more rows of each sequence; the attended rows, in order.
  Floats step(const std::vector<int32_t>& rows, Doubles* expected) {
    std::vector<int32_t> tokens, positions;
    std::vector<SequenceSpan> spans;
    Floats q, k, v;
    for (size_t i = 0; i < rows.size(); ++i) {
      Sequence& s = sequences_[i];
      const auto first = static_cast<int32_t>(tokens.size());
      spans.push_back({first, rows[i], s.done, 4096, s.pages});
      const auto append = [&](Floats& to, const Floats& from, int64_t n_heads) {
        const int64_t row = n_heads * case_.width;
        to.insert(to.end(), from.begin() + s.done * row, from.begin() + (s.done + rows[i]) * row);
      };
      append(q, s.q, heads());
      append(k, s.k, case_.n_kv_heads);
      append(v, s.v, case_.n_kv_heads);
      for (int32_t r = 0; r < rows[i]; ++r) positions.push_back(s.done + r);
      tokens.resize(positions.size());
      if (expected) {
        const Doubles own = reference(s, case_, s.done, rows[i]);
        expected->insert(expected->end(), own.begin(), own.end());
      }
      s.done += rows[i];
    }
    const auto n = static_cast<int64_t>(tokens.size());
    const StepBatch batch{tokens, positions, spans, {}};
    const Matrix out = device_.poisoned(n, heads() * case_.width);
    const float scale = 1 / std::sqrt(static_cast<float>(case_.width));
    device_.backend->store_kv(batch, cache_, device_.matrix(n, k), device_.matrix(n, v));
    device_.backend->attend(
        batch, cache_, {heads(), case_.n_kv_heads, case_.width, scale, case_.softcap, case_.window},
        device_.matrix(n, q), out);
    return device_.read(out);
  }

  void expect_step(const std::vector<int32_t>& rows) {
    Doubles expected;
    const Floats out = step(rows, &expected);
    const double error = test::relative_error(out, expected);
    if (error <= tolerance(case_.type)) return;
    test::report_failure(__FILE__, __LINE__,
                         concat("width ", case_.width, ", group ", case_.group, ", cache ",
                                static_cast<int>(case_.type), ", window ", case_.window,
                                ", soft cap ", case_.softcap, ": error ", error));
  }

  Sequence& sequence(size_t i) { return sequences_[i]; }

 private:
  int64_t heads() const { return case_.n_kv_heads * case_.group; }

  const Case case_;
  CudaDevice device_;
  KvLayer cache_;
  std::vector<Sequence> sequences_;
};

// A prompt, a chunk behind it beside another prompt, then single rows.
void expect_right(const Case& c, int32_t prompt) {
  Run run(c, {prompt + 40, 11});
  run.expect_step({prompt, 0});
  run.expect_step({37, 9});
  run.expect_step({1, 1});
  run.expect_step({2, 1});
}

}  // namespace

TEST(attention_is_right_at_every_head_width) {
  for (const int64_t width : {8, 64, 80, 96, 128, 200}) expect_right({width, 1, 2}, 35);
  expect_right({256, 2, 1}, 33);
}

TEST(attention_is_right_for_every_group_of_heads) {
  for (const int64_t group : {1, 3, 5, 8}) expect_right({64, 2, group}, 17);
}

TEST(windows_and_soft_caps_are_kept) {
  expect_right({64, 1, 4, KvType::kF16, 7}, 70);
  expect_right({64, 1, 4, KvType::kF16, 40, 5.0f}, 70);
  expect_right({80, 2, 1, KvType::kF16, 0, 2.0f}, 90);
}

TEST(every_cache_type_serves_every_kernel) {
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kQ8_0})
    expect_right({48, 2, 2, type, 20}, 50);
  expect_right({264, 1, 1, KvType::kF16}, 20);  // beyond the tiled kernels
}

TEST(long_sequences_are_merged_from_their_splits) {
  Run run({64, 1, 2, KvType::kF16}, {700});
  run.step({600}, nullptr);
  run.expect_step({1});
  run.expect_step({5});
  Run windowed({64, 1, 2, KvType::kF16, 300}, {700});
  windowed.step({650}, nullptr);
  windowed.expect_step({3});
}

TEST(deterministic_attention_has_the_same_bits_in_any_company_and_any_cut) {
  const Case c{64, 2, 2, KvType::kF16, 90};
  const auto row = 4 * 64;
  Run whole(c, {300}, true);
  const Floats expected = whole.step({300}, nullptr);
  Run cut(c, {300, 150}, true);
  Floats found;
  for (const auto& rows : {std::vector<int32_t>{120, 30}, {1, 1}, {9, 50}, {170, 2}}) {
    const Floats out = cut.step(rows, nullptr);
    found.insert(found.end(), out.begin(), out.begin() + rows[0] * row);
  }
  EXPECT_EQ(found.size(), expected.size());
  EXPECT(std::memcmp(found.data(), expected.data(), found.size() * 4) == 0);
}
