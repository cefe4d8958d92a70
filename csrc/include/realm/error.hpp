// How failures reach a C++ program: every function of the C++ face that fails throws realm::Error.
// Nothing prints, exits or aborts; after a failure every object is as it was before the call.
//
// Part of realm.hpp. C++17.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "realm/realm.h"

namespace realm {

// A call that failed. what() names the argument, the field or the place in a file, with the value
// that was wrong.
class Error : public std::runtime_error {
 public:
  Error(int status, const std::string& text) : std::runtime_error(text), status_(status) {}

  // A code of error_code.h, REALM_ERROR_INVALID_REQUEST for example: what kind of action helps.
  int status() const noexcept { return status_; }
  // "invalid request".
  const char* status_name() const noexcept { return realm_status_name(status_); }

 private:
  int status_;
};

// The version of the library that runs, "0.1.0"; it may be newer than this header.
inline std::string version() {
  return realm_version();
}

// What follows serves the other headers of this face.
namespace detail {

inline void check(int status) {
  if (status != REALM_OK) throw Error(status, realm_last_error());
}

// Owns a handle of the C interface.
template <class T, int (*Free)(T*)>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T* handle) noexcept : handle_(handle) {}
  Handle(Handle&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Handle() { Free(handle_); }

  T* get() const noexcept { return handle_; }

 private:
  T* handle_ = nullptr;
};

// The text that read(buffer, capacity, &length) gives: asked for its length first, and again should
// it have grown in between.
template <class Read>
std::string text_of(Read read) {
  std::string text;
  size_t length = 0;
  check(read(nullptr, size_t{0}, &length));
  while (length > text.size()) {
    text.resize(length);
    check(read(text.data(), text.size(), &length));
  }
  text.resize(length);
  return text;
}

}  // namespace detail
}  // namespace realm
