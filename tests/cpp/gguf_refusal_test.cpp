// What the container refuses, one reason per test: the message must name the field, its value and
// the byte where it lies.
#include <cstdio>
#include <fstream>

#include "base/text.h"
#include "cpp/harness.h"
#include "fuzz/raw_gguf.h"
#include "gguf/limits.h"
#include "gguf/reader.h"

using namespace realm;
using namespace realm::gguf;
using namespace realm::test;

namespace {

// Key entry at byte 24; the tensors' entries at 53 ("w") and 86 ("v"), their data at 128 and 160.
RawGguf good() {
  RawGguf raw;
  raw.keys.push_back(u32_key("general.count", 3));
  raw.tensors.push_back({"w", {8}, 0, 0, std::string(32, 'w')});
  raw.tensors.push_back({"v", {8}, 0, 0, std::string(32, 'v')});
  return raw.place();
}

RawGguf with_key(RawKey key) {
  RawGguf raw = good();
  raw.keys[0] = std::move(key);
  return raw;
}

std::string refusal(const std::string& bytes) {
  return EXPECT_ERROR(kFormat, { GgufFile::from_bytes(as_bytes(bytes), nullptr); });
}

std::string refusal(const RawGguf& raw) {
  return refusal(raw.bytes());
}

// Fails the test for each part that the message lacks.
void expect_parts(const std::string& message, std::initializer_list<std::string_view> parts) {
  for (const auto part : parts) {
    if (!contains(message, part)) {
      report_failure("gguf_refusal_test.cpp", 0, concat("no ", quoted(part), " in: ", message));
    }
  }
}

void expect_refused(const RawGguf& raw, std::initializer_list<std::string_view> parts) {
  expect_parts(refusal(raw), parts);
}

}  // namespace

TEST(the_good_file_of_these_tests_loads) {
  const std::string bytes = good().bytes();
  const auto file = GgufFile::from_bytes(as_bytes(bytes), nullptr);
  EXPECT_EQ(file->find("w")->offset, 128u);
  EXPECT_EQ(file->find("v")->offset, 160u);
}

// ---- header
// ---------------------------------------------------------------------------------------------

TEST(another_magic_is_refused) {
  RawGguf raw = good();
  raw.magic = "GGML";
  expect_refused(raw, {"bytes: header", "magic 0x4c4d4747", "not a GGUF file", "(byte 0)"});
  expect_parts(refusal(std::string()), {"header", "ends inside the magic", "(byte 0)"});
}

TEST(versions_other_than_2_and_3_are_refused) {
  RawGguf raw = good();
  for (const uint32_t version : {0u, 4u, 0xffffffffu}) {
    raw.version = version;
    expect_refused(raw, {concat("version ", version, " is not supported"), "(byte 4)"});
  }
  raw.version = 1;
  expect_refused(raw, {"GGUF version 1 is not supported", "(byte 4)"});
}

TEST(a_big_endian_file_is_refused_as_such) {
  const auto message =
      EXPECT_ERROR(kFormat, { GgufFile::open(REALM_GOLDEN_DIR "/gguf/tiny-big.gguf"); });
  expect_parts(message, {"big-endian GGUF is not supported", "0x3000000", "(byte 4)"});
}

TEST(counts_beyond_the_limits_or_the_file_are_refused) {
  RawGguf raw = good();
  raw.n_tensors = kMaxTensors + 1;
  expect_refused(raw, {"tensor count 262145 exceeds the limit of 262144", "(byte 8)"});
  raw.n_tensors = 1000;
  expect_refused(raw, {"tensor count 1000 cannot fit", "(byte 8)"});
  raw = good();
  raw.n_keys = UINT64_MAX;
  expect_refused(raw, {"key count 18446744073709551615 exceeds", "(byte 16)"});
  raw.n_keys = 100;
  expect_refused(raw, {"key count 100 cannot fit the", "(byte 16)"});
}

TEST(a_file_without_keys_and_tensors_is_refused) {
  expect_refused(RawGguf(), {"tensor count 0 and key count 0", "(byte 8)"});
}

// ---- keys
// -----------------------------------------------------------------------------------------------

TEST(unfit_keys_are_refused) {
  expect_refused(with_key(u32_key("", 1)), {"key #0", "name '' is empty", "(byte 24)"});
  expect_refused(with_key(u32_key("a\nb", 1)), {"'a\\x0ab' has a control character", "(byte 24)"});
  expect_refused(with_key(u32_key("\xff", 1)), {"'\\xff' is not UTF-8", "(byte 24)"});
  expect_refused(with_key(u32_key(std::string(65536, 'k'), 1)),
                 {"key #0: name length 65536 exceeds the limit of 65535", "(byte 24)"});
}

TEST(a_key_that_occurs_twice_is_refused) {
  RawGguf raw = good();
  raw.keys.push_back(text_key("general.count", "x"));
  expect_refused(raw, {"key 'general.count': the key occurs twice", "(byte 53)"});
}

TEST(unknown_value_types_are_refused) {
  expect_refused(with_key({"k", 13, le(0)}), {"key 'k': value type 13 is unknown", "(byte 33)"});
  expect_refused(with_key(array_key("k", 255, 0, "")),
                 {"key 'k': array element type 255 is unknown", "(byte 37)"});
}

TEST(bools_that_are_neither_0_nor_1_are_refused) {
  expect_refused(with_key({"k", BOOL, "\2"}), {"key 'k': bool value 2", "(byte 37)"});
  expect_refused(with_key(array_key("k", BOOL, 3, {"\1\0\7", 3})), {"bool value 7", "(byte 51)"});
}

TEST(texts_that_leave_the_file_are_refused) {
  expect_refused(
      with_key({"k", TEXT, le<uint64_t>(5000)}),
      {"key 'k': the file ends inside the text, which needs 5000 bytes where", "(byte 45)"});
  expect_refused(with_key({"k", TEXT, le(UINT64_MAX - 40)}),
                 {"text length 18446744073709551575 exceeds the limit", "(byte 37)"});
}

TEST(arrays_that_cannot_fit_the_file_are_refused_before_memory_is_taken) {
  for (const uint64_t n : {uint64_t{1000}, uint64_t{1} << 61, UINT64_MAX}) {
    expect_refused(with_key(array_key("k", U64, n, "")),
                   {concat("key 'k': array length ", n, " of u64 cannot fit"), "(byte 41)"});
    expect_refused(with_key(array_key("k", TEXT, n, "")),
                   {concat("array length ", n, " of text cannot fit"), "(byte 41)"});
  }
}

TEST(arrays_of_arrays_are_refused) {
  expect_refused(with_key(array_key("k", ARRAY, 1, le(uint32_t{U8}) + le(uint64_t{0}))),
                 {"key 'k': arrays of arrays are not supported", "(byte 37)"});
  expect_refused(with_key(array_key("k", ARRAY, 0, "")), {"arrays of arrays"});
}

TEST(alignments_that_are_no_power_of_two_in_bounds_are_refused) {
  for (const uint32_t value : {0u, 1u, 3u, 4u, 33u, 48u, 131072u, 0x80000000u, 0xffffffffu}) {
    expect_refused(
        with_key(u32_key("general.alignment", value)),
        {concat("key 'general.alignment': value ", value, " is not a power of two from 8"),
         "(byte 53)"});
  }
  expect_refused(with_key({"general.alignment", U64, le<uint64_t>(32)}),
                 {"key 'general.alignment': value has type u64, must be u32", "(byte 53)"});
}

// ---- tensors
// --------------------------------------------------------------------------------------------

TEST(unfit_tensor_names_are_refused) {
  RawGguf raw = good();
  raw.tensors[0].name = "";
  expect_refused(raw, {"tensor #0: name '' is empty", "(byte 53)"});
  raw.tensors[0].name = "w\x1b[2J";
  expect_refused(raw, {"'w\\x1b[2J' has a control character"});
  raw.tensors[0].name = std::string(128, 'n');
  expect_refused(raw, {"tensor #0: name length 128 exceeds the limit of 127", "(byte 53)"});
}

TEST(a_tensor_name_that_occurs_twice_is_refused) {
  RawGguf raw = good();
  raw.tensors[1].name = "w";
  expect_refused(raw, {"tensor 'w': the name occurs twice", "byte 128", "byte 160"});
}

TEST(ranks_other_than_1_to_4_are_refused) {
  RawGguf raw = good();
  raw.tensors[0].extents = {};
  expect_refused(raw, {"tensor 'w': rank 0 is not between 1 and 4", "(byte 62)"});
  raw.tensors[0].extents = {8, 1, 1, 1, 1};
  expect_refused(raw, {"tensor 'w': rank 5", "(byte 62)"});
}

TEST(impossible_extents_are_refused) {
  RawGguf raw = good();
  raw.tensors[0].extents = {8, 0};
  expect_refused(raw, {"tensor 'w': extent 1 is 0", "(byte 74)"});
  raw.tensors[0].extents = {uint64_t{1} << 32, uint64_t{1} << 32};
  expect_refused(raw, {"tensor 'w': shape [4294967296, 4294967296] has more than", "(byte 62)"});
  raw.tensors[0].extents = {(uint64_t{1} << 63) + 4, 2};  // wraps to the true size
  expect_refused(raw, {"has more than 2^63 - 1 elements"});
  raw.tensors[0].extents = {uint64_t{1} << 62};  // whose bytes wrap
  expect_refused(raw, {"tensor 'w': shape [4611686018427387904] in F32 exceeds 2^64 bytes"});
}

TEST(weight_formats_that_we_do_not_read_are_refused_by_name) {
  const std::pair<uint32_t, const char*> known[] = {
      {4, "Q4_2"}, {9, "Q8_1"},      {24, "I8"},       {25, "I16"},       {26, "I32"},
      {27, "I64"}, {31, "Q4_0_4_4"}, {33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"}};
  RawGguf raw = good();
  for (const auto& [id, name] : known) {
    raw.tensors[0].type = id;
    expect_refused(raw, {concat("tensor 'w': weight format ", id, " (", name, ") is not supported"),
                         "(byte 74)"});
  }
  raw.tensors[0].type = 255;
  expect_refused(raw, {"tensor 'w': weight format 255 is unknown", "(byte 74)"});
}

TEST(rows_that_are_not_whole_blocks_are_refused) {
  RawGguf raw = good();
  raw.tensors[0].type = 2;
  expect_refused(raw,
                 {"tensor 'w': rows of 8 values are not whole blocks of 32 (Q4_0)", "(byte 62)"});
}

TEST(offsets_off_the_alignment_are_refused) {
  RawGguf raw = good();
  raw.tensors[1].offset = 33;
  expect_refused(raw,
                 {"tensor 'v': offset 33 is not a multiple of the alignment 32", "(byte 111)"});
}

TEST(tensors_that_leave_the_file_are_refused) {
  RawGguf raw = good();
  for (const uint64_t offset : {uint64_t{64}, uint64_t{1} << 63, UINT64_MAX - 31}) {
    raw.tensors[1].offset = offset;
    raw.tensors[1].data.clear();
    expect_refused(raw,
                   {concat("tensor 'v': offset ", offset, " with 32 bytes exceeds"), "(byte 86)"});
  }
  raw = good();
  raw.tensors[1].extents = {9};
  expect_refused(raw, {"tensor 'v': offset 32 with 36 bytes exceeds the data section of 64 bytes"});
}

TEST(tensors_that_overlap_are_refused) {
  RawGguf raw = good();
  raw.tensors[1].offset = 0;
  expect_refused(raw, {"tensor 'v': its data at 128 overlaps", "ends at 160", "(byte 86)"});
  raw = good();
  raw.tensors[0].extents = {9};
  expect_refused(raw, {"tensor 'v': its data at 160 overlaps", "ends at 164"});
}

TEST(bytes_that_belong_to_no_tensor_are_refused) {
  RawGguf raw = good();
  raw.tensors[1].offset = 64;
  expect_refused(raw, {"tensor 'v': its data at 192 follows 32 bytes that belong to no tensor"});
  raw = good();
  raw.tensors[0].offset = 64;
  expect_refused(raw, {"tensor 'v': its data at 160 follows"});
}

TEST(a_file_cut_at_any_byte_is_refused) {
  const std::string bytes = good().bytes();
  for (size_t n = 0; n < bytes.size(); ++n) {
    const std::string message = refusal(bytes.substr(0, n));
    if (!contains(message, "(byte ")) report_failure(__FILE__, __LINE__, message);
  }
}

// ---- split models
// ---------------------------------------------------------------------------------------

namespace {

struct PartFile {
  std::string path;
  ~PartFile() { std::remove(path.c_str()); }
};

PartFile write_part(const std::string& name, uint16_t number, uint16_t count, int32_t n_tensors,
                    const std::string& tensor) {
  RawGguf raw;
  raw.keys = {{"split.no", U16, le(number)},
              {"split.count", U16, le(count)},
              {"split.tensors.count", I32, le(n_tensors)}};
  raw.tensors.push_back({tensor, {8}, 0, 0, std::string(32, 'x')});
  const std::string bytes = raw.bytes();
  std::ofstream(name, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return {name};
}

std::string refusal_to_open(const PartFile& file) {
  return EXPECT_ERROR(kFormat, { GgufFile::open(file.path); });
}

}  // namespace

TEST(a_part_that_is_not_the_first_says_which_to_open) {
  const auto message = EXPECT_ERROR(
      kFormat, { GgufFile::open(REALM_GOLDEN_DIR "/gguf/split-00002-of-00003.gguf"); });
  expect_parts(message, {"part 2 of 3", "open the first", "-00001-of-00003.gguf"});
}

TEST(parts_that_contradict_each_other_are_refused) {
  const PartFile first = write_part("gguf_refusal-00001-of-00002.gguf", 0, 2, 2, "a");
  const char* second = "gguf_refusal-00002-of-00002.gguf";
  {
    const PartFile part = write_part(second, 1, 2, 2, "b");
    EXPECT_EQ(GgufFile::open(first.path)->tensors().size(), 2u);
  }
  EXPECT(contains(EXPECT_ERROR(kIo, { GgufFile::open(first.path); }), second));
  {
    const PartFile part = write_part(second, 0, 2, 2, "b");
    expect_parts(refusal_to_open(first), {second, "'split.no': value 0", "says 1"});
  }
  {
    const PartFile part = write_part(second, 1, 3, 2, "b");
    expect_parts(refusal_to_open(first), {second, "'split.count': value 3", "says 2"});
  }
  {
    const PartFile part = write_part(second, 1, 2, 2, "a");
    expect_parts(refusal_to_open(first), {"tensor 'a': the name occurs twice", "another part"});
  }
  const PartFile short_of_one = write_part(first.path, 0, 2, 3, "a");
  const PartFile part = write_part(second, 1, 2, 3, "b");
  expect_parts(refusal_to_open(short_of_one), {"'split.tensors.count': value 3", "have 2"});
}

TEST(a_split_model_needs_its_name_and_a_path) {
  const PartFile file = write_part("gguf_refusal_renamed.gguf", 0, 2, 2, "a");
  expect_parts(refusal_to_open(file),
               {"'split.count': value 2", "named like 'model-00001-of-00002.gguf'"});
  RawGguf raw = with_key({"split.count", U16, le<uint16_t>(2)});
  expect_refused(raw, {"part 1 of 2", "opened by path"});
  expect_refused(with_key(u32_key("split.count", 513)), {"'split.count': value 513", "0 to 512"});
  expect_refused(with_key({"split.count", I32, le(-1)}), {"'split.count': value -1"});
}
