#include "base/json.h"

#include <string>

#include "cpp/harness.h"

using namespace realm;
using test::contains;

namespace {

std::string refusal(std::string_view text, const json::Limits& limits = {}) {
  return EXPECT_ERROR(kFormat, { json::parse(text, "config", limits); });
}

}  // namespace

TEST(every_kind_of_value_is_read) {
  const auto value = json::parse(
      R"( {"a": [1, -2.5, true, null], "b": {"c": "x\u00e9\ud83d\ude00\n"}, "e": 1e3} )", "config");
  const json::Array& a = *value.find("a")->array();
  EXPECT_EQ(*a[0].integer(), 1);
  EXPECT_EQ(*a[0].number(), 1.0);
  EXPECT(!a[1].integer());
  EXPECT_EQ(*a[1].number(), -2.5);
  EXPECT_EQ(*a[2].boolean(), true);
  EXPECT(a[3].is_null());
  EXPECT_EQ(*value.find("b")->find("c")->text(), "x\xc3\xa9\xf0\x9f\x98\x80\n");
  EXPECT(!value.find("e")->integer());
  EXPECT_EQ(*value.find("e")->number(), 1000.0);
  EXPECT(value.find("nothing") == nullptr);
  EXPECT(a[0].find("a") == nullptr);
}

TEST(what_is_almost_json_is_refused_with_its_place) {
  for (const char* text : {"",
                           " ",
                           "{",
                           "}",
                           "[",
                           "[1",
                           "[1,]",
                           "{\"a\":1,}",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{a:1}",
                           "{'a':1}",
                           "nul",
                           "NaN",
                           "Infinity",
                           "01",
                           "+1",
                           "1.",
                           ".5",
                           "1e",
                           "-",
                           "\"a",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\u12g4\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "\"\t\"",
                           "\"\xff\"",
                           "\"\xc0\x80\"",
                           "\"\xed\xa0\x80\"",
                           "\"\xf4\x90\x80\x80\"",
                           "\xef\xbb\xbf{}",
                           "{}x",
                           "{}{}",
                           "{}/*c*/",
                           "1e999",
                           "[1 2]",
                           "{\"a\" 1}",
                           "{1:2}"}) {
    EXPECT(contains(refusal(text), "config: JSON at byte "));
  }
}

TEST(a_key_that_occurs_twice_is_refused) {
  EXPECT(contains(refusal(R"({"a":1,"b":2,"a":1})"), "'a' occurs twice"));
  EXPECT(contains(refusal(R"({"x":{"a":1,"\u0061":2}})"), "'a' occurs twice"));
}

TEST(nesting_and_size_are_bounded) {
  const std::string deep(100000, '[');
  EXPECT(contains(refusal(deep), "nested deeper than 32"));
  const std::string wide = "[" + std::string(2000, '0') + "]";
  EXPECT(contains(refusal(wide), "expected"));
  std::string many = "[0";
  for (int i = 0; i < 100; ++i) many += ",0";
  EXPECT(contains(refusal(many + "]", {.max_values = 50}), "more than 50 values"));
  EXPECT_EQ(json::parse(many + "]", "config").array()->size(), size_t{101});
}

TEST(integers_beyond_64_bits_are_numbers_and_no_integers) {
  EXPECT_EQ(*json::parse("9223372036854775807", "config").integer(), INT64_MAX);
  const auto value = json::parse("9223372036854775808", "config");
  EXPECT(!value.integer());
  EXPECT_EQ(*value.number(), 0x1p63);
}

TEST(values_print_within_bounds) {
  EXPECT_EQ(json::to_string(json::parse("\"a\"", "")), "'a'");
  EXPECT_EQ(json::to_string(json::parse("[1,2]", "")), "an array of 2");
  EXPECT_EQ(json::to_string(json::parse("{\"a\":1}", "")), "an object of 1");
  EXPECT_EQ(json::to_string(json::parse("null", "")), "null");
}
