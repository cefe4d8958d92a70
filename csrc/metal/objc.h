// The Objective-C runtime as far as we call it, loaded when first asked for, so that nothing of the
// system's SDK is needed to build or to link. Messages are C calls: on arm64 every message has the
// calling convention of its own arguments, so send() casts objc_msgSend to just that.
//
// Lifetimes: what `new...` and `alloc` give belongs to the caller, who holds it in an Owned; all
// else lives until the Pool around the call ends, unless it is kept with Owned::retain().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace realm::metal::objc {

using Id = void*;
using Selector = void*;
using Integer = unsigned long;  // NSUInteger

struct Runtime {
  void* (*get_class)(const char* name) = nullptr;
  Selector (*register_selector)(const char* name) = nullptr;
  void (*send_message)() = nullptr;
  void* (*push_pool)() = nullptr;
  void (*pop_pool)(void* pool) = nullptr;
  Id (*default_device)() = nullptr;  // MTLCreateSystemDefaultDevice
  Id (*all_devices)() = nullptr;     // MTLCopyAllDevices, an array

  // Whether everything is there; if not, `missing` says what is not.
  bool complete = false;
  std::string missing;
};

// Loads libobjc, CoreGraphics and Metal at the first call. Never throws.
const Runtime& runtime();

template <class Result = Id, class... Arguments>
Result send(Id object, const char* selector, Arguments... arguments) {
  const Runtime& r = runtime();
  using Message = Result (*)(Id, Selector, Arguments...);
  return reinterpret_cast<Message>(r.send_message)(object, r.register_selector(selector),
                                                   arguments...);
}

inline bool responds(Id object, const char* selector) {
  return send<signed char>(object, "respondsToSelector:", runtime().register_selector(selector)) !=
         0;
}

// An NSString that lives until the pool ends.
inline Id string(const char* text) {
  return send(runtime().get_class("NSString"), "stringWithUTF8String:", text);
}
// The text of an NSString; empty for none.
inline std::string text(Id string) {
  const char* utf8 = string ? send<const char*>(string, "UTF8String") : nullptr;
  return utf8 ? utf8 : "";
}
inline std::string description(Id error) {
  return error ? text(send(error, "localizedDescription")) : "no reason is given";
}

class Pool {
 public:
  Pool() : pool_(runtime().push_pool()) {}
  ~Pool() { runtime().pop_pool(pool_); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

 private:
  void* const pool_;
};

// A reference to an object.
class Owned {
 public:
  Owned() = default;
  explicit Owned(Id id) : id_(id) {}
  static Owned retain(Id id) { return Owned(id ? send(id, "retain") : nullptr); }
  ~Owned() {
    if (id_) send<void>(id_, "release");
  }
  Owned(Owned&& other) noexcept : id_(std::exchange(other.id_, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }

  Id get() const { return id_; }
  Id release() { return std::exchange(id_, nullptr); }
  explicit operator bool() const { return id_ != nullptr; }

 private:
  Id id_ = nullptr;
};

}  // namespace realm::metal::objc
