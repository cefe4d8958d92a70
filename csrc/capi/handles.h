// What C callers hold. A handle looks like a pointer and is a number: a kind and a serial number
// that is never used again, under which a table of the process keeps the object. So a handle that
// was freed, that belongs to another kind of object, or that nobody ever gave out is told from a
// live one without reading memory through it.
//
// A call keeps its object alive until it returns: whoever frees a handle meanwhile harms nobody.
// Every function may be called from any thread. A child process after fork begins a table of its
// own, and handles of its parent are refused with kForked.
#pragma once

#include <cstdint>
#include <memory>

#include "realm/realm.h"

namespace realm::capi {

class RuntimeHandle;
class TenantHandle;
class RequestHandle;
class SessionHandle;
class GgufHandle;

enum class HandleKind : uint8_t { kRuntime = 1, kTenant, kRequest, kSession, kGguf };

// What an opaque type of realm.h stands for.
template <class Opaque>
struct Meaning;
template <>
struct Meaning<realm_runtime> {
  using Object = RuntimeHandle;
  static constexpr HandleKind kKind = HandleKind::kRuntime;
};
template <>
struct Meaning<realm_tenant> {
  using Object = TenantHandle;
  static constexpr HandleKind kKind = HandleKind::kTenant;
};
template <>
struct Meaning<realm_request> {
  using Object = RequestHandle;
  static constexpr HandleKind kKind = HandleKind::kRequest;
};
template <>
struct Meaning<realm_session> {
  using Object = SessionHandle;
  static constexpr HandleKind kKind = HandleKind::kSession;
};
template <>
struct Meaning<realm_gguf> {
  using Object = GgufHandle;
  static constexpr HandleKind kKind = HandleKind::kGguf;
};

uintptr_t enter_handle(HandleKind kind, std::shared_ptr<void> object);
// Throws kInvalidRequest, saying what is wrong with it, or kForked.
std::shared_ptr<void> find_handle(HandleKind kind, uintptr_t handle);
// The same, and takes it out of the table.
std::shared_ptr<void> take_handle(HandleKind kind, uintptr_t handle);

// A new handle to `object`.
template <class Opaque>
Opaque* give_out(std::shared_ptr<typename Meaning<Opaque>::Object> object) {
  return reinterpret_cast<Opaque*>(enter_handle(Meaning<Opaque>::kKind, std::move(object)));
}

// The object of a handle, alive as long as the result.
template <class Opaque>
std::shared_ptr<typename Meaning<Opaque>::Object> object_of(const Opaque* handle) {
  using M = Meaning<Opaque>;
  return std::static_pointer_cast<typename M::Object>(
      find_handle(M::kKind, reinterpret_cast<uintptr_t>(handle)));
}

// Ends a handle, and gives what it stood for. NULL is allowed, and gives null.
template <class Opaque>
std::shared_ptr<typename Meaning<Opaque>::Object> take_back(Opaque* handle) {
  using M = Meaning<Opaque>;
  if (handle == nullptr) return nullptr;
  return std::static_pointer_cast<typename M::Object>(
      take_handle(M::kKind, reinterpret_cast<uintptr_t>(handle)));
}

}  // namespace realm::capi
