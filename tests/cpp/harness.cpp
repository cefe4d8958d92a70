#include "cpp/harness.h"

#include <cmath>
#include <cstdio>
#include <vector>

namespace realm::test {

namespace {

struct Case {
  const char* name;
  void (*body)();
};

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

int failures = 0;

void run(const Case& test) {
  try {
    test.body();
  } catch (const std::exception& error) {
    report_failure(test.name, 0, concat("escaped exception: ", error.what()));
  }
}

}  // namespace

Registration::Registration(const char* name, void (*body)()) {
  cases().push_back({name, body});
}

void report_failure(const char* file, int line, const std::string& what) {
  constexpr int kShown = 20;
  if (++failures > kShown) return;
  std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what.c_str());
}

std::string expect_error(const char* file, int line, ErrorCode code,
                         const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    if (error.code() == code) return error.what();
    report_failure(file, line, concat("another error: ", error.what()));
    return error.what();
  }
  report_failure(file, line, "no error was thrown");
  return {};
}

bool near(double a, double b, double tolerance) {
  return std::abs(a - b) <= tolerance;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace realm::test

int main(int argc, char** argv) {
  using namespace realm::test;
  const std::string_view wanted = argc > 1 ? argv[1] : "";
  int ran = 0;
  for (const Case& test : cases()) {
    if (!contains(test.name, wanted)) continue;
    const int before = failures;
    run(test);
    std::printf("%s %s\n", failures == before ? "ok  " : "FAIL", test.name);
    ++ran;
  }
  std::printf("%d tests, %d failures\n", ran, failures);
  return failures != 0 || ran == 0;
}
