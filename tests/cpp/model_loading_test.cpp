// Loading weights: every way of reading gives the file's values, and nothing but the largest tensor
// stands beside the weights.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "backend/registry.h"
#include "cpp/harness.h"
#include "gguf/writer.h"
#include "model/tensor_source.h"

using namespace realm;
namespace fs = std::filesystem;

namespace {

// Tensors of a megabyte and more, so that several threads read; of different sizes, so that the
// memory they are read into is used again, larger and smaller.
constexpr int64_t kCols = 512;
constexpr int64_t kRows[] = {700, 3000, 1, 1500};

struct LargeFile {
  std::string path;
  std::vector<std::vector<float>> values;

  explicit LargeFile(const char* name) : path(concat("model_loading_test_", name, ".gguf")) {
    std::mt19937 random(1);
    std::vector<gguf::TensorData> tensors;
    for (const int64_t rows : kRows) {
      auto& floats = values.emplace_back(static_cast<size_t>(rows * kCols));
      for (float& value : floats) value = static_cast<float>(random());
    }
    for (size_t i = 0; i < values.size(); ++i) {
      const uint64_t shape[] = {static_cast<uint64_t>(kRows[i]), kCols};
      tensors.push_back({{concat("t", i), DType::kF32, Shape::checked(shape).value()},
                         std::as_bytes(std::span(values[i]))});
    }
    gguf::write_gguf(path, {}, tensors);
  }
  ~LargeFile() { fs::remove(path); }
};

std::vector<float> decoded(Backend& backend, const Weight& weight) {
  std::vector<float> values(static_cast<size_t>(weight.rows() * weight.cols()));
  backend.decode_rows(weight, 0, weight.rows(), values.data());
  return values;
}

std::shared_ptr<const gguf::GgufFile> in_memory(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const auto text = std::make_shared<const std::string>(std::istreambuf_iterator<char>(in),
                                                        std::istreambuf_iterator<char>());
  return gguf::GgufFile::from_bytes(std::as_bytes(std::span(*text)), text);
}

}  // namespace

TEST(every_way_of_reading_gives_the_values_of_the_file) {
  const LargeFile file("ways");
  for (const int n_threads : {1, 2, 5}) {
    for (const bool mapped : {false, true}) {
      for (const auto& opened : {gguf::GgufFile::open(file.path), in_memory(file.path)}) {
        const auto backend = make_cpu_backend(n_threads);
        const LoadOptions options{.mapped = mapped, .n_threads = n_threads, .progress = {}};
        TensorSource source(opened, *backend, options);
        std::vector<std::shared_ptr<const Weight>> weights;
        for (size_t i = 0; i < file.values.size(); ++i) {
          weights.push_back(source.matrix(concat("t", i), kRows[i], kCols));
        }
        source.finish();
        for (size_t i = 0; i < weights.size(); ++i) {
          EXPECT(decoded(*backend, *weights[i]) == file.values[i]);
        }
      }
    }
  }
}

TEST(a_weight_without_an_owner_outlives_the_bytes_it_was_made_of) {
  const auto backend = make_cpu_backend(1);
  std::vector<float> values(4 * 32, 1.5f);
  const auto weight =
      backend->load_weight({DType::kF32, 4, 32, std::as_bytes(std::span(values)), nullptr});
  const std::vector<float> expected = values;
  std::ranges::fill(values, -7.0f);
  EXPECT(decoded(*backend, *weight) == expected);
}

TEST(a_file_shortened_after_it_was_opened_is_an_error) {
  const LargeFile file("shortened");
  const auto opened = gguf::GgufFile::open(file.path);
  fs::resize_file(file.path, fs::file_size(file.path) / 2);
  const auto backend = make_cpu_backend(2);
  const LoadOptions options;
  TensorSource source(opened, *backend, options);
  source.matrix("t0", kRows[0], kCols);
  EXPECT_ERROR(kFormat, { source.matrix("t3", kRows[3], kCols); });
}

TEST(staging_memory_is_used_again) {
  StagingMemory memory;
  const std::byte* first = memory.at_least(1000).data();
  EXPECT_EQ(memory.at_least(10).data(), first);
  EXPECT_EQ(memory.at_least(10).size(), size_t{10});
  EXPECT_EQ(memory.at_least(1000).data(), first);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.at_least(5000).data()) % 64, uintptr_t{0});
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // those end the process
  EXPECT_ERROR(kOutOfMemory, { memory.at_least(uint64_t{1} << 60); });
  EXPECT_EQ(memory.at_least(5000).size(), size_t{5000});
#endif
}
