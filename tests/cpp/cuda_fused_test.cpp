// Kernels of the CUDA backend that do the work of several: they give the bits of those, what they
// leave for later ops is never used when it is stale, and a step takes the launches it should.
#include <cstring>
#include <functional>
#include <map>
#include <numeric>

#include "cpp/cuda_device.h"
#include "cpp/harness.h"
#include "model/model.h"
#include "model/solo_sequence.h"
#include "quant/formats.h"

using namespace realm;
using test::CudaDevice;
using test::Floats;

namespace {

uint64_t launches(const Backend& backend, const std::string& kernel) {
  for (const auto& [name, n] : backend.path_counts())
    if (name == kernel) return n;
  return 0;
}

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// A device with a quantized weight of `n_cols` columns.
struct Bench : CudaDevice {
  static constexpr int64_t kOut = 24;
  std::unique_ptr<Weight> weight;
  const Matrix out = poisoned(16, kOut);

  explicit Bench(int64_t n_cols) {
    const Format& format = format_of(DType::kQ8_0);
    const Floats values = test::normal_values(kOut * n_cols, 1, 0.1f);
    std::vector<std::byte> bytes(*encoded_bytes(format, values.size()));
    encode(format, values.data(), bytes.data(), values.size());
    weight = backend->load_weight({DType::kQ8_0, kOut, n_cols, bytes, nullptr});
  }
  // Nothing comes between what was done before and the product.
  Floats product(Matrix in) {
    const Product one{*weight, {}, out.first_rows(in.rows)};
    backend->linear({&one, 1}, in);
    return read(one.out);
  }
  // Memory that products have read before, with other rows in it.
  Matrix asked_for(int64_t rows, int64_t cols) {
    const Matrix m = matrix(rows + 1, test::normal_values((rows + 1) * cols, 2));
    product(m);
    return m.first_rows(rows);
  }
};

// Runs `write` into memory that was asked for and into memory that was not: the same product, and
// the first time without a launch that quantizes.
void expect_fused(int64_t rows, int64_t cols, const std::function<void(Bench&, Matrix)>& write) {
  Bench bench(cols);
  const Matrix plain = bench.poisoned(rows, cols), asked = bench.asked_for(rows, cols);
  write(bench, plain);
  const Floats expected = bench.product(plain);
  const uint64_t before = launches(*bench.backend, "quantize_kernel");
  write(bench, asked);
  EXPECT(same_bits(bench.product(asked), expected));
  EXPECT(same_bits(bench.read(asked), bench.read(plain)));
  EXPECT_EQ(launches(*bench.backend, "quantize_kernel"), before);
}

}  // namespace

TEST(norms_leave_the_quantized_rows_that_a_launch_of_its_own_makes) {
  for (const int64_t cols : {32, 96, 512, 544, 1056}) {
    for (const int64_t rows : {1, 9}) {
      for (const NormKind kind : {NormKind::kRms, NormKind::kLayer}) {
        Floats x = test::normal_values(rows * cols, 3);
        std::fill_n(x.begin(), 16, 0.0f);
        expect_fused(rows, cols, [&](Bench& bench, Matrix out) {
          const Vector weight = bench.vector(test::normal_values(cols, 4));
          const Vector bias = bench.vector(test::normal_values(cols, 5));
          bench.backend->norm(kind, bench.matrix(rows, x), weight,
                              kind == NormKind::kLayer ? bias : Vector{}, 1e-5f, out);
        });
      }
    }
  }
}

TEST(activations_and_gates_leave_them_too_nan_and_zeros_included) {
  for (const int64_t rows : {1, 5}) {
    constexpr int64_t kCols = 288;
    Floats x = test::normal_values(rows * kCols, 6, 3.0f);
    std::fill_n(x.begin() + 32, 32, 0.0f);
    x[70] = NAN;
    x[130] = INFINITY;
    for (const Activation kind : {Activation::kSilu, Activation::kGeluTanh}) {
      expect_fused(rows, kCols, [&](Bench& bench, Matrix out) {
        bench.backend->gate(kind, bench.matrix(rows, x),
                            bench.matrix(rows, test::normal_values(rows * kCols, 7)), out);
      });
      expect_fused(rows, kCols, [&](Bench& bench, Matrix out) {
        bench.backend->upload(x.data(), out.data, x.size() * sizeof(float));
        bench.backend->activate(kind, out);
      });
    }
  }
}

TEST(attention_of_few_rows_leaves_them_too) {
  struct Shape {
    int64_t width, n_heads, n_kv_heads;
  };
  const std::vector<int32_t> tokens(5), positions{30, 31, 32, 33, 700};
  std::vector<int32_t> pages(25);
  std::iota(pages.begin(), pages.end(), 0);
  const std::vector<SequenceSpan> spans{{0, 4, 30, 64, std::span(pages).first(2)},
                                        {4, 1, 700, 800, std::span(pages).subspan(2)}};
  const StepBatch step{tokens, positions, spans, {}};
  for (const auto [width, n_heads, n_kv_heads] :
       {Shape{64, 8, 2}, {96, 3, 3}, {32, 7, 1}, {128, 4, 4}, {256, 2, 1}}) {
    for (const KvType type : {KvType::kF16, KvType::kQ8_0}) {
      expect_fused(5, n_heads * width, [&](Bench& bench, Matrix out) {
        Backend& b = *bench.backend;
        const int64_t n = 25 * b.kv_page_bytes(type, n_kv_heads, width);
        const KvLayer cache{bench.bytes(n), type, n_kv_heads, width, 25};
        const std::vector<std::byte> bytes(static_cast<size_t>(n), std::byte{0x31});
        b.upload(bytes.data(), cache.data, bytes.size());
        const Matrix kv = bench.matrix(5, test::normal_values(5 * n_kv_heads * width, 17));
        b.store_kv(step, cache, kv, kv);
        const Matrix q = bench.matrix(5, test::normal_values(5 * n_heads * width, 18));
        b.attend(step, cache, {n_heads, n_kv_heads, width, 0.1f, 0, 0}, q, out);
      });
    }
  }
}

TEST(products_of_one_input_quantize_it_once_also_when_they_come_apart) {
  Bench bench(64);
  const Matrix in = bench.matrix(5, test::normal_values(5 * 64, 8));
  const Floats expected = bench.product(in);
  EXPECT(same_bits(bench.product(in), expected));
  EXPECT_EQ(launches(*bench.backend, "quantize_kernel"), uint64_t{2});  // download() came between
  const Matrix outs[] = {bench.poisoned(5, Bench::kOut), bench.poisoned(3, Bench::kOut)};
  const Product all{*bench.weight, {}, outs[0]}, some{*bench.weight, {}, outs[1]};
  bench.backend->linear({&all, 1}, in);
  bench.backend->linear({&some, 1}, in.first_rows(3));
  EXPECT_EQ(launches(*bench.backend, "quantize_kernel"), uint64_t{3});
  EXPECT(same_bits(bench.read(outs[0]), expected));
  EXPECT(same_bits(bench.read(outs[1]), Floats(expected.begin(), expected.begin() + 3 * 24)));
}

// After a norm into `m`, each op that writes there makes what the norm left stale.
TEST(quantized_rows_are_stale_when_any_op_has_written_them) {
  constexpr int64_t kRows = 4, kCols = 64;
  using Write = std::function<void(Bench&, Matrix, Matrix)>;  // the matrix, another one
  const std::vector<int32_t> tokens{3, 0, 2, 2};
  const std::map<std::string, Write> writes{
      {"add", [](Bench& b, Matrix m, Matrix y) { b.backend->add(m, y, 2.0f); }},
      {"scale", [](Bench& b, Matrix m, Matrix) { b.backend->scale(m, 3.0f); }},
      {"softcap", [](Bench& b, Matrix m, Matrix) { b.backend->softcap(m, 0.5f); }},
      {"gate", [](Bench& b, Matrix m, Matrix y) { b.backend->gate(Activation::kSilu, m, y, m); }},
      {"activate", [](Bench& b, Matrix m, Matrix) { b.backend->activate(Activation::kSilu, m); }},
      {"sigmoid",
       [](Bench& b, Matrix m, Matrix y) { b.backend->scale_by_sigmoid(m, {y.data, kRows, 1}); }},
      {"rotate",
       [](Bench& b, Matrix m, Matrix y) { b.backend->rotate(m, 32, {y.data, y.data, 16, false}); }},
      {"gather", [&](Bench& b, Matrix m, Matrix y) { b.backend->gather(y, tokens, m); }},
      {"embed", [&](Bench& b, Matrix m, Matrix) { b.backend->embed(*b.weight, tokens, 1.0f, m); }},
      {"attend",  // of a head width that no merge quantizes
       [](Bench& b, Matrix m, Matrix y) {
         const std::vector<int32_t> zeros(kRows), places{0, 1, 2, 3}, page{0};
         const SequenceSpan span{0, kRows, 0, 32, page};
         const KvLayer cache{b.bytes(b.backend->kv_page_bytes(KvType::kF16, 4, 16)), KvType::kF16,
                             4, 16, 1};
         const StepBatch step{zeros, places, {&span, 1}, {}};
         b.backend->store_kv(step, cache, y, y);
         b.backend->attend(step, cache, {4, 4, 16, 0.1f, 0, 0}, y, m);
       }},
      {"upload",
       [](Bench& b, Matrix m, Matrix) {
         const Floats values = test::normal_values(kRows * kCols, 9);
         b.backend->upload(values.data(), m.data, values.size() * sizeof(float));
       }},
      {"linear into it",
       [](Bench& b, Matrix m, Matrix y) {
         const Product one{*b.weight, {}, {m.data, kRows, Bench::kOut}};
         b.backend->linear({&one, 1}, y);
       }},
      {"adapters into it",
       [](Bench& b, Matrix m, Matrix y) {
         static const std::vector<int32_t> rows{1, 2};
         const Vector shift = b.vector(test::normal_values(kCols, 10));
         LoraProduct one;
         one.shift = shift;
         one.rows = rows;
         one.out = m;
         b.backend->add_lora({&one, 1}, y);
       }},
      {"route into it",
       [](Bench& b, Matrix m, Matrix) {
         const Matrix ids = b.poisoned(kRows, 2);
         b.backend->route({m.data, kRows, 8}, true,
                          {reinterpret_cast<int32_t*>(ids.data), ids.data, 2});
       }},
  };
  for (const auto& [name, write] : writes) {
    Bench bench(kCols), fresh(kCols);
    const auto run = [&](Bench& b, Matrix m) {
      const Matrix y = b.matrix(kRows, test::normal_values(kRows * kCols, 11));
      b.backend->norm(NormKind::kRms, y, b.vector(test::normal_values(kCols, 12)), {}, 1e-5f, m);
      write(b, m, y);
      return b.product(m);
    };
    const Floats expected = run(fresh, fresh.poisoned(kRows, kCols));
    if (!same_bits(run(bench, bench.asked_for(kRows, kCols)), expected))
      test::report_failure(__FILE__, __LINE__, name);
  }
}

TEST(rotating_and_storing_at_once_gives_the_bits_of_one_after_the_other) {
  constexpr int64_t kRows = 5;
  const std::vector<int32_t> tokens(kRows), pages{1, 0}, positions{30, 31, 32, 33, 34};
  const SequenceSpan span{0, kRows, 30, 64, pages};
  const StepBatch step{tokens, positions, {&span, 1}, {}};
  struct Shape {
    int64_t width, half, n_heads, n_kv_heads;
  };
  for (const auto [width, half, n_heads, n_kv_heads] :
       {Shape{64, 32, 4, 2}, {80, 40, 3, 3}, {20, 6, 5, 1}, {128, 0, 2, 1}}) {
    for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kQ8_0}) {
      for (const bool interleaved : {false, true}) {
        CudaDevice device;
        Backend& b = *device.backend;
        const int64_t n = 2 * b.kv_page_bytes(type, n_kv_heads, width);
        const Floats angles = test::normal_values(2 * kRows * half + 2, 13);
        const RopeAngles rope{device.vector(angles).data, device.vector(angles).data + kRows * half,
                              half, interleaved};
        const auto run = [&](bool at_once) {
          const KvLayer cache{device.bytes(n), type, n_kv_heads, width, 2};
          std::vector<std::byte> bytes(static_cast<size_t>(n), std::byte{0xff});
          b.upload(bytes.data(), cache.data, bytes.size());
          const auto heads = [&](int64_t n_of, unsigned seed) {
            return device.matrix(kRows, test::normal_values(kRows * n_of * width, seed));
          };
          const Matrix q = heads(n_heads, 14), k = heads(n_kv_heads, 15), v = heads(n_kv_heads, 16);
          if (at_once) {
            b.rotate_and_store_kv(step, cache, rope, q, k, v);
          } else {
            b.rotate(q, width, rope);
            b.rotate(k, width, rope);
            b.store_kv(step, cache, k, v);
          }
          b.download(cache.data, bytes.data(), bytes.size());
          return std::pair(device.read(q), bytes);
        };
        const auto [q, stored] = run(true);
        const auto [q_apart, stored_apart] = run(false);
        EXPECT(same_bits(q, q_apart));
        EXPECT(stored == stored_apart);
        EXPECT_EQ(launches(b, "rotate_and_store_kernel"), uint64_t{1});
      }
    }
  }
}

TEST(a_decode_step_takes_fifteen_launches_a_layer) {
  const auto file = gguf::GgufFile::open(REALM_GOLDEN_DIR "/quant/Q4_K_M.gguf");
  const auto model = Model::load(file, {.device = "cuda", .n_threads = 1});
  SoloSequence sequence(model, {.kv_type = KvType::kF16, .max_tokens = 40, .adapters = {}});
  Floats logits(static_cast<size_t>(model->config().n_vocab));
  const std::vector<int32_t> one{5};
  sequence.append(one, 1, logits.data());
  const auto kernels = [&] {
    std::map<std::string, uint64_t> counts;
    for (const auto& [name, n] : model->backend().path_counts())
      if (name.ends_with("_kernel")) counts[name] = n;
    return counts;
  };
  auto before = kernels();
  std::map<std::string, uint64_t> counts;
  sequence.append(one, 1, logits.data());
  uint64_t all = 0;
  for (const auto& [name, n] : kernels()) all += counts[name] = n - before[name];
  const auto layers = static_cast<uint64_t>(model->config().n_layers);
  EXPECT_EQ(counts["quantize_kernel"], uint64_t{0});
  EXPECT_EQ(counts["rotate_and_store_kernel"], layers);
  EXPECT_EQ(counts["rotate_kernel"], uint64_t{0});
  EXPECT_EQ(all, 15 * layers + 4);  // embed, gather, norm, head
}
