// The C++ test harness: TEST(sentence) { EXPECT(...); }. Every test of a program runs, failures are
// listed with file and line, and the exit status says whether there were any. `program [substring]`
// runs a selection.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace realm::test {

struct Registration {
  Registration(const char* name, void (*body)());
};

void report_failure(const char* file, int line, const std::string& what);

// The message of the realm::Error with `code` that `body` throws; a failure if it throws none or
// another.
std::string expect_error(const char* file, int line, ErrorCode code,
                         const std::function<void()>& body);

// |a - b| <= tolerance, and false whenever either is NaN.
bool near(double a, double b, double tolerance);

// True if `text` contains `part`.
bool contains(std::string_view text, std::string_view part);

}  // namespace realm::test

#define TEST(name)                                                                  \
  static void test_##name();                                                        \
  static const ::realm::test::Registration registration_##name(#name, test_##name); \
  static void test_##name()

#define EXPECT(condition) \
  ((condition) ? (void)0 : ::realm::test::report_failure(__FILE__, __LINE__, #condition))

#define EXPECT_EQ(a, b)                                                                         \
  do {                                                                                          \
    const auto left_ = (a);                                                                     \
    const auto right_ = (b);                                                                    \
    if (!(left_ == right_))                                                                     \
      ::realm::test::report_failure(__FILE__, __LINE__,                                         \
                                    ::realm::concat(#a " == " #b ": ", left_, " vs ", right_)); \
  } while (0)

// Runs the body; evaluates to the message: EXPECT_ERROR(kFormat, { parse(bytes); }).
#define EXPECT_ERROR(code, ...) \
  ::realm::test::expect_error(__FILE__, __LINE__, ::realm::ErrorCode::code, [&]() __VA_ARGS__)
