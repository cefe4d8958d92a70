// The one exception type of the core. A code says what kind of caller action helps; the message
// carries the values that were wrong. Faces (C, Python) translate at their edge and nowhere else.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include "base/text.h"

namespace realm {

enum class ErrorCode {
  kInternal = -1,
  kInvalidRequest = -2,
  kFormat = -3,
  kIo = -4,
  kOutOfMemory = -5,
  kAdapter = -6,
  kQuotaExceeded = -7,
  kDevice = -8,
  kCancelled = -9,
  kForked = -10,
};

// A limit that a request is above.
struct QuotaBreach {
  const char* quota = "";  // the limit's name, as options have it; static
  int64_t limit = 0;
  int64_t value = 0;  // with the request
};

class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message, int os_error = 0)
      : code_(code), os_error_(os_error), message_(std::move(message)) {}
  // kQuotaExceeded.
  Error(const QuotaBreach& breach, std::string message)
      : code_(ErrorCode::kQuotaExceeded), breach_(breach), message_(std::move(message)) {}

  ErrorCode code() const noexcept { return code_; }
  // errno of the failed call when code() is kIo, else 0.
  int os_error() const noexcept { return os_error_; }
  // When code() is kQuotaExceeded.
  const QuotaBreach& breach() const noexcept { return breach_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorCode code_;
  int os_error_ = 0;
  QuotaBreach breach_{};
  std::string message_;
};

template <class... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
  throw Error(code, concat(parts...));
}

// Throws kQuotaExceeded: "tokens_per_minute allows 100, this would be 120"; `whose` comes before
// it.
[[noreturn]] void fail_quota(const QuotaBreach& breach, const std::string& whose = {});

// Throws kIo with the text of `os_error` (an errno value).
[[noreturn]] void fail_io(int os_error, const std::string& what);

}  // namespace realm

// The caller's fault: REALM_CHECK(k > 0, "k must be positive, is ", k).
#define REALM_CHECK(condition, ...) \
  ((condition) ? (void)0 : ::realm::fail(::realm::ErrorCode::kInvalidRequest, __VA_ARGS__))

// Our fault: checked in builds with assertions, gone in release.
#ifdef NDEBUG
#define REALM_DCHECK(condition) ((void)0)
#else
#define REALM_DCHECK(condition)                                                                 \
  ((condition) ? (void)0                                                                        \
               : ::realm::fail(::realm::ErrorCode::kInternal, "broken invariant at ", __FILE__, \
                               ":", __LINE__, ": ", #condition))
#endif
