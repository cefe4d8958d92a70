// What adapters add to products on the emulated Metal device: against sums in double, in any
// company, and whole models with adapters against the CPU backend.
#include <cmath>

#include "cpp/gpu_forward.h"
#include "cpp/lora_products.h"
#include "cpp/metal_device.h"
#include "lora/adapter_source.h"

using namespace realm;
using test::Fixture;
using test::Floats;
using test::LoraCase;
using test::MetalDevice;
using test::TestFactor;

namespace {

// A device with operands of products, which it copies from the fixtures'.
class Products {
 public:
  Matrix matrix(const Floats& values, int64_t rows) { return device_.matrix(rows, values); }
  Floats read(Matrix m) { return device_.read(m); }
  Backend& backend() { return *device_.backend; }

  // `product` with its operands on the device, adding to `out`.
  LoraProduct on_device(const Fixture& fixture, LoraProduct product, Matrix out) {
    product.down = factor(fixture.down);
    product.up = factor(fixture.up);
    for (Vector* vector : {&product.gain, &product.rescale, &product.bias, &product.shift}) {
      if (vector->data) *vector = device_.vector(Floats(vector->data, vector->data + vector->n));
    }
    product.out = out;
    return product;
  }
  FactorView factor(const TestFactor& host) {
    FactorView view = host.view();
    const int64_t n = host.rows * host.cols * (host.dtype == DType::kF32 ? 4 : 2);
    std::byte* bytes = device_.bytes(n);
    device_.backend->upload(view.data, bytes, static_cast<uint64_t>(n));
    view.data = bytes;
    return view;
  }

 private:
  MetalDevice device_;
};

Floats run(const Fixture& fixture, bool is_full) {
  Products device;
  Floats unused = fixture.out;
  Fixture copy = fixture;
  const Matrix out = device.matrix(fixture.out, fixture.shape.n_rows);
  const LoraProduct product = device.on_device(fixture, copy.product(unused, is_full), out);
  device.backend().add_lora({&product, 1}, device.matrix(fixture.in, fixture.shape.n_rows));
  return device.read(out);
}

std::shared_ptr<Model> load(const std::string& base, const char* device) {
  return test::load(concat("forward/", base), device);
}

std::shared_ptr<const AdapterSet> adapter_of(Model& model, const std::string& name, float scale) {
  model.adapters().load(name, lora::open_adapter(concat(REALM_GOLDEN_DIR "/lora/", name)), true);
  return model.adapters().set_of({{name, scale}});
}

}  // namespace

TEST(additions_are_those_of_sums_in_double) {
  for (const LoraCase& shape : test::kCases) {
    for (const bool is_full : {false, true}) {
      const Fixture fixture(shape);
      const Floats result = run(fixture, is_full);
      double worst = 0;
      for (int64_t row = 0; row < shape.n_rows; ++row) {
        for (int64_t col = 0; col < shape.n_out; ++col) {
          const double got = result[static_cast<size_t>(row * shape.n_out + col)];
          EXPECT(std::isfinite(got));
          worst = std::max(worst, std::abs(got - fixture.expected(row, col, is_full)));
        }
      }
      const double size = std::sqrt(static_cast<double>(shape.rank * shape.n_in));
      EXPECT(worst <= 4e-6 * (1 + size));
      EXPECT(!test::same_bits(result, fixture.out));
    }
  }
}

TEST(a_row_has_the_same_bits_in_any_company_and_others_stay_as_they_are) {
  Fixture fixture({DType::kF16, 16, 300, 200, 45});
  const Floats together = run(fixture, true);
  for (const int32_t row : {0, 7, 44}) {
    fixture.rows = {row};
    const Floats alone = run(fixture, true);
    const auto begin = static_cast<size_t>(row) * 200, next = (begin + 200) % alone.size();
    EXPECT(std::memcmp(&alone[begin], &together[begin], 200 * sizeof(float)) == 0);
    EXPECT(std::memcmp(&alone[next], &fixture.out[next], 200 * sizeof(float)) == 0);
  }
}

// Each row has one or two adapters of its own, or none, over two outputs of one input, all of them
// in two launches.
TEST(adapters_of_many_rows_and_outputs_go_together_and_give_what_each_gives_alone) {
  const std::vector<std::vector<int32_t>> rows_of = {{0, 3}, {0}, {1, 2}, {4}, {5, 6, 7, 8}};
  std::vector<Fixture> fixtures;
  for (size_t i = 0; i < rows_of.size(); ++i) {
    fixtures.emplace_back(
        LoraCase{i % 2 == 0 ? DType::kF16 : DType::kF32, static_cast<int64_t>(3 * i), 100, 150, 9});
    fixtures.back().rows = rows_of[i];
  }
  const auto launches = [](Backend& backend, const std::string& name) {
    for (const auto& [kernel, n] : backend.path_counts())
      if (kernel == name) return n;
    return uint64_t{0};
  };
  const auto outputs = [&](bool is_together) {
    Products device;
    const Matrix in = device.matrix(fixtures[0].in, 9);
    const Matrix outs[] = {device.matrix(fixtures[0].out, 9), device.matrix(fixtures[1].out, 9)};
    std::vector<LoraProduct> products;
    Floats unused(9 * 150);
    for (const Matrix out : outs) {
      for (Fixture& fixture : fixtures) {
        products.push_back(
            device.on_device(fixture, fixture.product(unused, &fixture == &fixtures[2]), out));
      }
    }
    if (is_together) {
      device.backend().add_lora(products, in);
      EXPECT_EQ(launches(device.backend(), "lora_shrink_kernel"), uint64_t{1});
      EXPECT_EQ(launches(device.backend(), "lora_expand_kernel"), uint64_t{1});
    } else {
      for (const LoraProduct& one : products) device.backend().add_lora({&one, 1}, in);
    }
    Floats both = device.read(outs[0]), second = device.read(outs[1]);
    both.insert(both.end(), second.begin(), second.end());
    return both;
  };
  const Floats alone = outputs(false);
  EXPECT(test::same_bits(outputs(true), alone));
  EXPECT(!test::same_bits(alone, Floats(alone.size())));
}

TEST(lookups_take_the_row_of_each_token) {
  Fixture fixture({DType::kBF16, 6, 16, 48, 4});
  const TestFactor table(DType::kF16, 20, 6, 9);
  const std::vector<int32_t> tokens = {3, 19, 0, 3};
  Products device;
  Floats unused = fixture.out;
  const Matrix out = device.matrix(fixture.out, 4);
  LoraProduct product = device.on_device(fixture, fixture.product(unused, false), out);
  product.down = device.factor(table);
  device.backend().add_lora_rows({&product, 1}, tokens);
  const Floats result = device.read(out);
  for (int64_t row = 0; row < 4; ++row) {
    for (int64_t col = 0; col < 48; ++col) {
      double sum = fixture.out[static_cast<size_t>(row * 48 + col)];
      for (int64_t j = 0; j < 6; ++j)
        sum += 0.75 * table.at(tokens[static_cast<size_t>(row)], j) * fixture.up.at(j, col);
      EXPECT(test::near(result[static_cast<size_t>(row * 48 + col)], sum, 1e-5));
    }
  }
}

TEST(models_with_adapters_give_the_logits_of_the_cpu) {
  const std::pair<const char*, const char*> cases[] = {{"llama-biases", "llama-dora-all"},
                                                       {"gpt2", "gpt2-all"},
                                                       {"gpt2", "gpt2-saved"},
                                                       {"phi3-partial-rotary", "phi3-dora-fused"},
                                                       {"qwen2moe-ties", "qwen2moe-shared"}};
  for (const auto& [base, adapter] : cases) {
    const auto cpu = load(base, "cpu"), gpu = load(base, "metal");
    const test::Tokens tokens = test::random_tokens(20, cpu->config().n_vocab);
    const Floats plain = test::logits(cpu, tokens, KvType::kF32, 512);
    const Floats expected =
        test::logits(cpu, tokens, KvType::kF32, 512, adapter_of(*cpu, adapter, 1.0f));
    const auto set = adapter_of(*gpu, adapter, 1.0f);
    for (const int64_t chunk : {int64_t{512}, int64_t{3}}) {
      const double error =
          test::nmse(test::logits(gpu, tokens, KvType::kF32, chunk, set), expected);
      if (!(error <= 1e-8)) {
        test::report_failure(__FILE__, __LINE__, concat(adapter, ": NMSE ", error));
      }
    }
    EXPECT(test::nmse(plain, expected) > 1e-6);  // the adapter matters
  }
}

TEST(adapters_of_experts_are_refused_with_advice) {
  const auto model = load("mixtral-8-experts", "metal");
  const auto set = adapter_of(*model, "mixtral-experts", 1.0f);
  const std::string text =
      EXPECT_ERROR(kDevice, { test::logits(model, {1, 2, 3}, KvType::kF32, 512, set); });
  EXPECT(test::contains(text, "experts") && test::contains(text, "merge"));
  test::logits(model, {1, 2, 3}, KvType::kF32, 512);  // the base goes on
}
