// Reading valid files: values, tensors, splits, and how long it takes. What is refused is in
// gguf_refusal_test.cpp.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <thread>
#include <unistd.h>

#include "base/half.h"
#include "cpp/harness.h"
#include "fuzz/raw_gguf.h"
#include "gguf/reader.h"
#include "quant/formats.h"

using namespace realm;
using namespace realm::gguf;
using namespace realm::test;

namespace {

const std::string kTiny = REALM_GOLDEN_DIR "/gguf/tiny.gguf";

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void spill(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::vector<float> decoded(const GgufFile& file, const char* name) {
  const TensorInfo& info = *file.find(name);
  std::vector<float> out(info.shape.elements());
  file.read_f32(info, out.data());
  return out;
}

// Processor time, which other processes on the machine do not lengthen.
class Stopwatch {
 public:
  double ms() const { return 1e3 * static_cast<double>(std::clock() - start_) / CLOCKS_PER_SEC; }

 private:
  std::clock_t start_ = std::clock();
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kSlowdown = 20;  // what a sanitizer may cost
#else
constexpr double kSlowdown = 1;
#endif

}  // namespace

TEST(a_file_of_the_reference_package_reads_with_every_value_type) {
  const auto file = GgufFile::open(kTiny);
  const Metadata& metadata = file->metadata();
  const auto value = [&](int i) { return *metadata.find(concat("tiny.value_", i)); };
  EXPECT_EQ(file->version(), 3u);
  EXPECT_EQ(file->alignment(), 32u);
  EXPECT_EQ(metadata.begin()->key, "general.architecture");
  EXPECT(value(0) == Value(uint8_t{200}));
  EXPECT(value(1) == Value(int8_t{-100}));
  EXPECT(value(2) == Value(uint16_t{60000}));
  EXPECT(value(3) == Value(int16_t{-30000}));
  EXPECT(value(4) == Value(4'000'000'000u));
  EXPECT(value(5) == Value(-2'000'000'000));
  EXPECT(value(6) == Value(0.1f));
  EXPECT(value(7) == Value(true));
  EXPECT(value(8) == Value("h\xc3\xa9llo\n"));
  EXPECT(value(9) == Value(UINT64_MAX));
  EXPECT(value(10) == Value(INT64_MIN));
  EXPECT(value(11) == Value(0.1));
  EXPECT(*metadata.find("tiny.flags") == Value(Array::of<bool>({true, false, true})));
  const StringArray& tokens = *metadata.find("tokenizer.ggml.tokens")->strings();
  EXPECT_EQ(tokens.size(), 8u);
  EXPECT_EQ(tokens[4], "\xe2\x96\x81the");
  EXPECT_EQ(*metadata.find("tokenizer.ggml.scores")->array()->number(7), -7.0);
}

TEST(tensors_have_numpy_shapes_and_lie_where_the_file_says) {
  const auto file = GgufFile::open(kTiny);
  EXPECT_EQ(file->tensors().size(), 6u);
  EXPECT_EQ(file->tensors()[0].name, "token_embd.weight");
  const TensorInfo& down = *file->find("blk.0.ffn_down.weight");
  EXPECT(down.shape == Shape({2, 3, 32}));
  EXPECT(down.dtype == DType::kQ4_0);
  EXPECT_EQ(down.bytes, 6u * 18);
  EXPECT_EQ(down.offset, 1952u);
  EXPECT(file->find("blk.1.ffn_up.weight")->shape == Shape({2, 2, 2, 8}));
  EXPECT(file->find("blk.0") == nullptr);
  EXPECT(file->find("") == nullptr);
}

TEST(bytes_and_values_of_a_tensor_agree_however_they_are_read) {
  const auto file = GgufFile::open(kTiny);
  const std::string all = slurp(kTiny);
  for (const TensorInfo& info : file->tensors()) {
    std::vector<std::byte> read(info.bytes);
    file->read(info, read);
    const auto view = file->view(info);
    EXPECT(std::ranges::equal(read, view));
    EXPECT(std::ranges::equal(read, as_bytes(all).subspan(info.offset, info.bytes)));
    std::vector<float> whole(info.shape.elements()), by_rows(info.shape.elements());
    decode(format_of(info.dtype), view.data(), whole.data(), whole.size());
    for (uint64_t row = 0; row < info.shape.rows(); ++row) {
      file->read_rows_f32(info, row, 1, by_rows.data() + row * info.shape.row_elements());
    }
    EXPECT(whole == by_rows);
    EXPECT(whole == decoded(*file, info.name.c_str()));
  }
}

TEST(a_file_in_memory_reads_like_one_on_disk_and_keeps_its_owner) {
  auto bytes = std::make_shared<const std::string>(slurp(kTiny));
  std::weak_ptr<const std::string> watch = bytes;
  auto file = GgufFile::from_bytes(as_bytes(*bytes), bytes);
  bytes.reset();
  EXPECT(!watch.expired());
  const auto on_disk = GgufFile::open(kTiny);
  EXPECT(file->metadata() == on_disk->metadata());
  EXPECT(file->tensors() == on_disk->tensors());
  EXPECT(decoded(*file, "output.weight") == decoded(*on_disk, "output.weight"));
  file.reset();
  EXPECT(watch.expired());
}

TEST(a_request_beyond_a_tensor_is_the_callers_fault) {
  const auto file = GgufFile::open(kTiny);
  const TensorInfo& info = *file->find("blk.0.ffn_up.weight");
  std::vector<float> out(info.shape.elements());
  std::vector<std::byte> bytes(info.bytes);
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { file->read_rows_f32(info, 2, 2, out.data()); }),
                  "3 rows"));
  EXPECT_ERROR(kInvalidRequest, { file->read_rows_f32(info, UINT64_MAX, 2, out.data()); });
  EXPECT_ERROR(kInvalidRequest, { file->read_at(info, 1, bytes); });
  EXPECT_ERROR(kInvalidRequest, { file->read(info, std::span(bytes).first(3)); });
}

TEST(a_file_truncated_after_opening_is_an_error_that_says_where) {
  spill("gguf_reader_test_cut.gguf", slurp(kTiny));
  const auto file = GgufFile::open("gguf_reader_test_cut.gguf");
  EXPECT_EQ(truncate("gguf_reader_test_cut.gguf", 2000), 0);
  EXPECT_EQ(decoded(*file, "token_embd.weight").size(), 256u);
  const auto message = EXPECT_ERROR(kFormat, { decoded(*file, "output.weight"); });
  EXPECT(contains(message, "gguf_reader_test_cut.gguf"));
  EXPECT(contains(message, "ends at byte 2"));
  std::remove("gguf_reader_test_cut.gguf");
}

TEST(version_2_reads_like_version_3) {
  std::string bytes = slurp(kTiny);
  bytes[4] = 2;
  const auto file = GgufFile::from_bytes(as_bytes(bytes), nullptr);
  EXPECT_EQ(file->version(), 2u);
  EXPECT(file->tensors() == GgufFile::open(kTiny)->tensors());
}

TEST(a_vocabulary_without_tensors_and_tensors_without_keys_are_files) {
  const auto vocabulary = GgufFile::open(REALM_GOLDEN_DIR "/gguf/tiny-vocab.gguf");
  EXPECT(vocabulary->tensors().empty());
  EXPECT(vocabulary->metadata() == GgufFile::open(kTiny)->metadata());
  RawGguf raw;
  raw.tensors.push_back({"w", {8}, 0, 0, std::string(32, 'x')});
  const std::string bytes = raw.bytes();
  EXPECT_EQ(GgufFile::from_bytes(as_bytes(bytes), nullptr)->tensors().size(), 1u);
}

TEST(tensors_may_lie_in_another_order_than_their_names) {
  RawGguf raw;
  raw.tensors.push_back({"second", {8}, 0, 32, std::string(32, '\2')});
  raw.tensors.push_back({"first", {8}, 0, 0, std::string(32, '\1')});
  const std::string bytes = raw.bytes() + "junk after the last tensor";
  const auto file = GgufFile::from_bytes(as_bytes(bytes), nullptr);
  EXPECT_EQ(file->tensors()[0].name, "second");
  EXPECT(file->view(*file->find("first"))[0] == std::byte{1});
}

TEST(an_alignment_from_8_to_65536_lays_tensors_out) {
  for (uint32_t alignment = 8; alignment <= 65536; alignment *= 2) {
    RawGguf raw;
    raw.alignment = alignment;
    raw.keys.push_back(u32_key("general.alignment", alignment));
    raw.tensors.push_back({"a", {1}, 0, 0, le(1.5f)});
    raw.tensors.push_back({"b", {1}, 0, 0, le(2.5f)});
    const std::string bytes = raw.place().bytes();
    const auto file = GgufFile::from_bytes(as_bytes(bytes), nullptr);
    EXPECT_EQ(file->alignment(), alignment);
    EXPECT_EQ(decoded(*file, "b")[0], 2.5f);
  }
}

TEST(the_first_part_of_a_split_model_opens_all_of_them) {
  const auto split = GgufFile::open(REALM_GOLDEN_DIR "/gguf/split-00001-of-00003.gguf");
  const auto whole = GgufFile::open(kTiny);
  EXPECT_EQ(split->tensors().size(), 6u);
  EXPECT_EQ(split->tensors()[5].part, 2u);
  EXPECT(split->file_bytes() > whole->file_bytes());
  for (const TensorInfo& info : whole->tensors()) {
    EXPECT(decoded(*split, info.name.c_str()) == decoded(*whole, info.name.c_str()));
    EXPECT(std::ranges::equal(split->view(*split->find(info.name)), whole->view(info)));
  }
}

TEST(threads_share_a_file) {
  const auto file = GgufFile::open(kTiny);
  const auto expected = decoded(*file, "token_embd.weight");
  std::vector<int> equal(4, 0);
  {
    std::vector<std::jthread> threads;
    for (int& flag : equal) {
      threads.emplace_back([&] {
        flag = 1;
        for (int i = 0; i < 50; ++i) {
          const TensorInfo& info = *file->find("token_embd.weight");
          flag &= decoded(*file, "token_embd.weight") == expected;
          flag &= file->view(info).size() == info.bytes;
        }
      });
    }
  }
  for (const int flag : equal) EXPECT(flag);
}

TEST(the_directory_of_a_4_gb_file_reads_in_milliseconds) {
  const std::string path = "gguf_reader_test_sparse.gguf";
  RawGguf raw;
  raw.keys.push_back(text_key("general.architecture", "llama"));
  constexpr uint64_t kTensors = 75, kRows = 3500, kRow = 4096,
                     kBytes = kRow * kRows * sizeof(float);
  for (uint64_t i = 0; i < kTensors; ++i) {
    raw.tensors.push_back({concat("blk.", i, ".w.weight"), {kRow, kRows}, 0, i * kBytes, {}});
  }
  const std::string header = raw.bytes();  // the data is a hole
  spill(path, header);
  EXPECT_EQ(truncate(path.c_str(), static_cast<off_t>(header.size() + kTensors * kBytes)), 0);
  const Stopwatch watch;
  const auto file = GgufFile::open(path);
  const double ms = watch.ms();
  std::printf("     directory of %.1f GB: %.2f ms\n",
              1e-9 * static_cast<double>(file->file_bytes()), ms);
  EXPECT(file->file_bytes() > 4'000'000'000);
  EXPECT(ms < 100 * kSlowdown);
  std::remove(path.c_str());
}

TEST(a_vocabulary_of_256_k_tokens_reads_in_a_quarter_of_a_second) {
  constexpr uint64_t kTokens = 256 * 1024;
  std::string tokens, merges, types, scores;
  for (uint64_t i = 0; i < kTokens; ++i) {
    tokens += counted(concat("token", i));
    merges += counted(concat("tok en", i));
    types += le<int32_t>(1);
    scores += le(-static_cast<float>(i));
  }
  RawGguf raw;
  raw.keys = {array_key("tokenizer.ggml.tokens", TEXT, kTokens, tokens),
              array_key("tokenizer.ggml.merges", TEXT, kTokens, merges),
              array_key("tokenizer.ggml.token_type", I32, kTokens, types),
              array_key("tokenizer.ggml.scores", test::F32, kTokens, scores)};
  spill("gguf_reader_test_vocabulary.gguf", raw.bytes());
  const Stopwatch watch;
  const auto file = GgufFile::open("gguf_reader_test_vocabulary.gguf");
  const double ms = watch.ms();
  std::printf("     256k tokens, merges, types and scores: %.1f ms\n", ms);
  const StringArray& read = *file->metadata().find("tokenizer.ggml.tokens")->strings();
  EXPECT_EQ(read[kTokens - 1], "token262143");
  EXPECT_EQ(*file->metadata().find("tokenizer.ggml.scores")->array()->number(5), -5.0);
  EXPECT(ms < 250 * kSlowdown);
  std::remove("gguf_reader_test_vocabulary.gguf");
}
