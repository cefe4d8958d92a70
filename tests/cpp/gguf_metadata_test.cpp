#include <cmath>
#include <limits>

#include "cpp/harness.h"
#include "gguf/limits.h"
#include "gguf/metadata.h"

using namespace realm;
using namespace realm::gguf;
using test::contains;

TEST(a_value_knows_its_type) {
  EXPECT(Value(uint8_t{1}).type() == ValueType::kU8);
  EXPECT(Value(int64_t{1}).type() == ValueType::kI64);
  EXPECT(Value(true).type() == ValueType::kBool);
  EXPECT(Value(1.0).type() == ValueType::kF64);
  EXPECT(Value("text").type() == ValueType::kText);
  EXPECT(Value(Array::of<float>({1, 2})).type() == ValueType::kArray);
  EXPECT(Value(StringArray{"a"}).type() == ValueType::kArray);
}

TEST(integers_of_every_width_read_alike_and_never_change_value) {
  EXPECT_EQ(*Value(uint8_t{200}).unsigned_integer(), 200u);
  EXPECT_EQ(*Value(int32_t{-7}).integer(), -7);
  EXPECT(!Value(int32_t{-7}).unsigned_integer());
  EXPECT_EQ(*Value(UINT64_MAX).unsigned_integer(), UINT64_MAX);
  EXPECT(!Value(UINT64_MAX).integer());
  EXPECT(!Value(2.0f).integer());
  EXPECT(!Value(true).integer());
  EXPECT_EQ(*Value(int16_t{-3}).number(), -3.0);
  EXPECT(!Value(true).number());
  EXPECT(!Value("1").number());
  EXPECT(*Value(true).boolean());
  EXPECT(!Value(uint8_t{1}).boolean());
}

TEST(an_array_reads_by_exact_type_or_widened) {
  const Array array = Array::of<int16_t>({-5, 7});
  EXPECT_EQ(array.size(), 2u);
  EXPECT_EQ(array.at<int16_t>(0), -5);
  EXPECT_EQ(*array.integer(1), 7);
  EXPECT_EQ(*array.number(0), -5.0);
  EXPECT(!Array::of<float>({1}).integer(0));
  EXPECT(!Array::of<uint64_t>({UINT64_MAX}).integer(0));
  EXPECT_EQ(Array().size(), 0u);
}

TEST(an_array_of_half_an_element_or_of_odd_bools_is_refused) {
  const auto half =
      EXPECT_ERROR(kInvalidRequest, { Array(ValueType::kU32, std::vector<std::byte>(6)); });
  EXPECT(contains(half, "6 bytes"));
  EXPECT_ERROR(kInvalidRequest, { Array(ValueType::kBool, {std::byte{2}}); });
  EXPECT_ERROR(kInvalidRequest, { Array(ValueType::kText, {}); });
}

TEST(texts_keep_their_bytes) {
  StringArray texts{"", std::string_view("a\0b", 3), "\xff"};
  texts.push_back("last");
  EXPECT_EQ(texts.size(), 4u);
  EXPECT_EQ(texts[0], "");
  EXPECT_EQ(texts[1].size(), 3u);
  EXPECT_EQ(texts[2], "\xff");
  EXPECT_EQ(texts[3], "last");
}

TEST(keys_keep_their_order_and_are_replaced_in_place) {
  Metadata metadata;
  metadata.set("b", 1u);
  metadata.set("a", 2u);
  metadata.set("b", "new");
  EXPECT_EQ(metadata.size(), 2u);
  EXPECT_EQ(metadata.begin()->key, "b");
  EXPECT_EQ(*metadata.find("b")->text(), "new");
  EXPECT(metadata.find("c") == nullptr);
}

TEST(metadata_with_nan_equals_itself) {
  Metadata a, b;
  a.set("x", std::numeric_limits<float>::quiet_NaN());
  b.set("x", std::numeric_limits<float>::quiet_NaN());
  EXPECT(a == b);
  b.set("x", 0.0f);
  EXPECT(!(a == b));
  a.set("x", -0.0f);
  EXPECT(!(a == b));
}

TEST(names_are_utf8_without_control_characters) {
  const auto defect = [](std::string_view name) { return name_defect(name, 8) != nullptr; };
  EXPECT(!defect("blk.0"));
  EXPECT(!defect("h\xc3\xa9llo"));
  EXPECT(!defect("\xf0\x9f\x98\x80"));
  EXPECT(!defect("%s%n"));
  EXPECT(defect(""));
  EXPECT(defect("123456789"));
  EXPECT(defect("a\nb"));
  EXPECT(defect("a\x7f"));
  EXPECT(defect(std::string_view("a\0b", 3)));
  EXPECT(defect("\x80"));              // lone continuation
  EXPECT(defect("\xc0\xaf"));          // overlong
  EXPECT(defect("\xe0\x80\xaf"));      // overlong
  EXPECT(defect("\xed\xa0\x80"));      // surrogate
  EXPECT(defect("\xf4\x90\x80\x80"));  // beyond U+10FFFF
  EXPECT(defect("abc\xe2\x82"));       // cut
  Metadata metadata;
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { metadata.set("a\n", 1u); }), "control"));
}

TEST(values_print_for_messages) {
  EXPECT_EQ(to_string(Value(uint8_t{65})), "65");
  EXPECT_EQ(to_string(Value(false)), "false");
  EXPECT_EQ(to_string(Value("a\x1b")), "'a\\x1b'");
  EXPECT_EQ(to_string(Value(Array::of<float>({1, 2}))), "array of 2 f32");
  EXPECT_EQ(to_string(Value(StringArray{"a", "b", "c"})), "array of 3 text");
}
