// The table of weight formats and its reference decoders. Golden blocks come from the `gguf`
// package by tools/make_format_golden.py; equality is of bits, so -0 is not 0 and no tolerance
// hides an error.
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <vector>

#include "base/half.h"
#include "cpp/harness.h"
#include "quant/blocks.h"
#include "quant/formats.h"

using namespace realm;
using test::contains;

namespace {

struct Golden {
  uint64_t n_blocks = 0;
  std::vector<std::byte> blocks;
  std::vector<float> values;
};

std::vector<char> read_golden_file(const std::string& name) {
  std::ifstream in(std::string(REALM_GOLDEN_DIR "/formats/") + name + ".bin", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Empty unless the file holds exactly the blocks and values that it announces.
Golden load_golden(const Format& format) {
  const std::vector<char> file = read_golden_file(format.name);
  uint32_t n_blocks = 0;
  if (file.size() < sizeof n_blocks) return {};
  std::memcpy(&n_blocks, file.data(), sizeof n_blocks);
  const size_t bytes = size_t{n_blocks} * format.block_bytes;
  const size_t n_values = size_t{n_blocks} * format.block_elements;
  if (file.size() != sizeof n_blocks + bytes + n_values * sizeof(float)) return {};

  Golden golden{n_blocks, std::vector<std::byte>(bytes), std::vector<float>(n_values)};
  std::memcpy(golden.blocks.data(), file.data() + sizeof n_blocks, bytes);
  std::memcpy(golden.values.data(), file.data() + sizeof n_blocks + bytes,
              n_values * sizeof(float));
  return golden;
}

// Index of the first value whose bits differ, or the size when there is none.
size_t first_difference(const std::vector<float>& a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (float_bits(a[i]) != float_bits(b[i])) return i;
  }
  return a.size();
}

std::vector<float> decode_from_odd_address(const Format& format, const Golden& golden) {
  std::vector<std::byte> storage(golden.blocks.size() + 1);
  std::memcpy(storage.data() + 1, golden.blocks.data(), golden.blocks.size());
  std::vector<float> values(golden.values.size(), NAN);
  decode(format, storage.data() + 1, values.data(), values.size());
  return values;
}

void expect_golden(const Format& format) {
  const Golden golden = load_golden(format);
  if (golden.n_blocks < 16) {
    test::report_failure(__FILE__, __LINE__, concat(format.name, ": no whole golden file"));
    return;
  }
  const std::vector<float> values = decode_from_odd_address(format, golden);
  const size_t i = first_difference(values, golden.values);
  if (i == values.size()) return;
  test::report_failure(
      __FILE__, __LINE__,
      concat(format.name, ": value ", i % format.block_elements, " of block ",
             i / format.block_elements, " is ", values[i], " (", hex(float_bits(values[i])),
             "), not ", golden.values[i], " (", hex(float_bits(golden.values[i])), ")"));
}

struct Geometry {
  uint32_t id;
  const char* name;
  uint32_t elements, bytes;
};

// As GGML_QUANT_SIZES of the `gguf` package has them.
constexpr Geometry kGeometries[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},      {10, "Q2_K", 256, 84},    {11, "Q3_K", 256, 110},
    {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},   {14, "Q6_K", 256, 210},
    {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},   {20, "IQ4_NL", 32, 18},
    {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},   {23, "IQ4_XS", 256, 136},
    {28, "F64", 1, 8},        {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},
    {34, "TQ1_0", 256, 54},   {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},
    {40, "NVFP4", 64, 36},
};

// Stands for an encoder, to see what `encode` lets through to one.
void keep_first(const float* in, std::byte* blocks, uint64_t) {
  std::memcpy(blocks, in, 4);
}

constexpr Format kBlocksOfFour = {DType::kQ4_0, "FOUR", 4, 4, nullptr, keep_first};

}  // namespace

TEST(every_format_decodes_as_the_gguf_package_does) {
  for (const Format& format : all_formats()) {
    if (format.dtype != DType::kQ8_K) expect_golden(format);
  }
}

TEST(the_comparison_of_bits_sees_signs_of_zero_and_nan) {
  EXPECT_EQ(first_difference({1, 2, 3}, {1, 2, 3}), 3u);
  EXPECT_EQ(first_difference({1, 0.0f, 3}, {1, -0.0f, 3}), 1u);
  EXPECT_EQ(first_difference({1, 2, NAN}, {1, 2, 3}), 2u);
}

TEST(q8_k_is_scale_times_quant) {
  BlockQ8_K block{};
  block.d = -0.37f;
  for (int i = 0; i < 256; ++i) block.qs[i] = static_cast<int8_t>(i - 128);
  for (int j = 0; j < 16; ++j)
    block.bsums[j] = 12345;  // sums speed up products, decoding ignores them

  std::vector<float> values(256);
  decode(format_of(DType::kQ8_K), reinterpret_cast<const std::byte*>(&block), values.data(), 256);
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(float_bits(values[static_cast<size_t>(i)]),
              float_bits(-0.37f * static_cast<float>(i - 128)));
  }
}

TEST(the_table_has_the_block_sizes_of_gguf_files) {
  EXPECT_EQ(all_formats().size(), std::size(kGeometries));
  for (const Geometry& expected : kGeometries) {
    const Format* format = find_format(expected.id);
    EXPECT(format != nullptr);
    if (format == nullptr) continue;
    EXPECT_EQ(std::string(format->name), expected.name);
    EXPECT_EQ(format->block_elements, expected.elements);
    EXPECT_EQ(format->block_bytes, expected.bytes);
    EXPECT(format->decode != nullptr);
  }
}

TEST(no_two_rows_share_an_id_or_a_name) {
  std::set<uint32_t> ids;
  std::set<std::string> names;
  for (const Format& format : all_formats()) {
    EXPECT(ids.insert(static_cast<uint32_t>(format.dtype)).second);
    EXPECT(names.insert(format.name).second);
    EXPECT(&format_of(format.dtype) == &format);
  }
}

TEST(ids_without_a_row_are_unknown) {
  // 4 and 5 were withdrawn, 9 is for activations, 24 to 27 are integers, 31 to 33 were repacked
  // layouts.
  for (const uint32_t id :
       {4u, 5u, 9u, 24u, 25u, 26u, 27u, 31u, 32u, 33u, 36u, 41u, 256u, UINT32_MAX}) {
    EXPECT(find_format(id) == nullptr);
    const auto message = EXPECT_ERROR(kInternal, { format_of(static_cast<DType>(id)); });
    EXPECT(contains(message, std::to_string(id)));
  }
}

TEST(names_are_found_ignoring_case) {
  EXPECT(find_format("q4_k") == &format_of(DType::kQ4_K));
  EXPECT(find_format("Q4_K") == &format_of(DType::kQ4_K));
  EXPECT(find_format("iq2_XXs") == &format_of(DType::kIQ2_XXS));
  EXPECT(find_format("bf16") == &format_of(DType::kBF16));
  for (const std::string_view name : {"", "Q4", "Q4_K ", "Q4_KM", "Q8_1", "\xd1\x80"}) {
    EXPECT(find_format(name) == nullptr);
  }
}

TEST(encoded_bytes_is_exact_or_nothing) {
  const Format& q4_0 = format_of(DType::kQ4_0);
  EXPECT_EQ(*encoded_bytes(q4_0, 0), 0u);
  EXPECT_EQ(*encoded_bytes(q4_0, 96), 54u);
  EXPECT(!encoded_bytes(q4_0, 95));
  EXPECT_EQ(*encoded_bytes(q4_0, uint64_t{1} << 63), (uint64_t{1} << 58) * 18);
  EXPECT_EQ(*encoded_bytes(format_of(DType::kNVFP4), 128), 72u);

  const Format& f32 = format_of(DType::kF32);
  EXPECT_EQ(*encoded_bytes(f32, UINT64_MAX / 4), UINT64_MAX - 3);
  EXPECT(!encoded_bytes(f32, UINT64_MAX / 4 + 1));
  EXPECT(!encoded_bytes(format_of(DType::kF64), UINT64_MAX));
}

TEST(every_row_of_a_tensor_is_whole_blocks) {
  const Format& q4_k = format_of(DType::kQ4_K);
  EXPECT_EQ(*tensor_bytes(q4_k, Shape{3, 512}), 6 * 144u);
  EXPECT(!tensor_bytes(q4_k, Shape{512, 3}));  // 1536 values would fill blocks, but rows do not
  EXPECT(!tensor_bytes(q4_k, Shape{}));
  EXPECT_EQ(*tensor_bytes(q4_k, Shape{0, 256}), 0u);
  EXPECT_EQ(*tensor_bytes(format_of(DType::kF32), Shape{}), 4u);
  EXPECT(!tensor_bytes(format_of(DType::kF64), Shape{uint64_t{1} << 31, uint64_t{1} << 31}));
}

TEST(part_of_a_block_is_refused) {
  const auto message =
      EXPECT_ERROR(kInvalidRequest, { decode(format_of(DType::kQ5_K), nullptr, nullptr, 255); });
  EXPECT(contains(message, "Q5_K has blocks of 256 values; 255 values"));
  EXPECT_ERROR(kInvalidRequest, { encode(kBlocksOfFour, nullptr, nullptr, 3); });
}

TEST(no_values_need_no_memory) {
  for (const Format& format : all_formats()) decode(format, nullptr, nullptr, 0);
}

TEST(a_value_beyond_a_half_float_is_refused_by_block_formats) {
  std::byte block[4];
  for (const float bad : {NAN, INFINITY, -INFINITY, 65505.0f}) {
    const float values[4] = {1, 2, bad, 4};
    const auto message =
        EXPECT_ERROR(kInvalidRequest, { encode(kBlocksOfFour, values, block, 4); });
    EXPECT(contains(message, "value 2 as FOUR"));
  }
  const float finite[4] = {65504, -0.0f, 0x1p-149f, 4};
  encode(kBlocksOfFour, finite, block, 4);
  EXPECT_EQ(std::memcmp(block, finite, 4), 0);
}

TEST(every_block_encoder_is_behind_the_check_for_finite_values) {
  std::vector<float> values(256, 1.0f);
  values[7] = NAN;
  std::byte block[292];
  for (const Format& format : all_formats()) {
    if (format.encode == nullptr || format.block_elements == 1) continue;
    const auto message = EXPECT_ERROR(
        kInvalidRequest, { encode(format, values.data(), block, format.block_elements); });
    EXPECT(contains(message, concat("value 7 as ", format.name)));
  }
}

TEST(f16_refuses_a_finite_value_that_would_become_infinite) {
  std::byte block[2];
  const float fits = 65519.0f, beyond = 65520.0f;
  encode(format_of(DType::kF16), &fits, block, 1);
  const auto message =
      EXPECT_ERROR(kInvalidRequest, { encode(format_of(DType::kF16), &beyond, block, 1); });
  EXPECT(contains(message, "it is 65520"));
}

TEST(bf16_takes_no_finite_value_that_would_become_infinite) {
  const Format& format = format_of(DType::kBF16);
  EXPECT(is_encodable(format, 0x1.fefffep127f) && is_encodable(format, -INFINITY));
  EXPECT(!is_encodable(format, 0x1.ffp127f) && !is_encodable(format, -0x1.fffffep127f));
  const float beyond = 0x1.ffp127f;
  std::byte out[2];
  EXPECT_ERROR(kInvalidRequest, { encode(format, &beyond, out, 1); });
}

TEST(plain_floats_carry_infinity_as_it_is) {
  std::byte block[8];
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF64}) {
    const float value = -INFINITY;
    float back = 0;
    encode(format_of(dtype), &value, block, 1);
    decode(format_of(dtype), block, &back, 1);
    EXPECT_EQ(back, value);
  }
}

TEST(a_format_that_we_only_read_is_not_encoded) {
  const float value = 0;
  std::byte block[292];
  const auto message =
      EXPECT_ERROR(kInvalidRequest, { encode(format_of(DType::kQ8_K), &value, block, 256); });
  EXPECT(contains(message, "Q8_K"));
}
