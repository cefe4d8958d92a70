#include "capi/handles.h"

#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "base/error.h"
#include "base/system.h"

namespace realm::capi {

namespace {

constexpr int kKindBits = 4;

const char* name_of(HandleKind kind) {
  switch (kind) {
    case HandleKind::kRuntime:
      return "realm_runtime";
    case HandleKind::kTenant:
      return "realm_tenant";
    case HandleKind::kRequest:
      return "realm_request";
    case HandleKind::kSession:
      return "realm_session";
    case HandleKind::kGguf:
      return "realm_gguf";
  }
  return nullptr;
}

HandleKind kind_of(uintptr_t handle) {
  return static_cast<HandleKind>(handle & ((1 << kKindBits) - 1));
}

class HandleTable {
 public:
  // A child's table goes on counting where its parent's stood, and leaves that one as it lies:
  // another thread may have held its lock.
  explicit HandleTable(const HandleTable* parent)
      : first_serial_(parent != nullptr ? parent->next_serial_.load() : 1),
        next_serial_(first_serial_) {}

  bool is_of_this_process() const { return process_ == process_id(); }

  uintptr_t enter(HandleKind kind, std::shared_ptr<void> object) {
    const std::unique_lock lock(mutex_);
    const uintptr_t handle = next_serial_++ << kKindBits | static_cast<uintptr_t>(kind);
    objects_.emplace(handle, std::move(object));
    return handle;
  }

  std::shared_ptr<void> find(HandleKind kind, uintptr_t handle) const {
    require(kind, handle);
    const std::shared_lock lock(mutex_);
    const auto found = objects_.find(handle);
    if (found == objects_.end()) refuse_absent(kind, handle);
    return found->second;
  }

  std::shared_ptr<void> take(HandleKind kind, uintptr_t handle) {
    require(kind, handle);
    const std::unique_lock lock(mutex_);
    const auto found = objects_.find(handle);
    if (found == objects_.end()) refuse_absent(kind, handle);
    std::shared_ptr<void> object = std::move(found->second);
    objects_.erase(found);
    return object;
  }

 private:
  void require(HandleKind kind, uintptr_t handle) const {
    REALM_CHECK(handle != 0, name_of(kind), " is NULL");
    const uintptr_t serial = handle >> kKindBits;
    const char* actual = name_of(kind_of(handle));
    REALM_CHECK(actual != nullptr && serial > 0 && serial < next_serial_.load(), name_of(kind),
                " is ", hex(handle), ", a handle that this library did not give out");
    REALM_CHECK(kind_of(handle) == kind, name_of(kind), " is ", hex(handle), ", the handle of a ",
                actual);
    if (serial >= first_serial_) return;
    fail(ErrorCode::kForked, name_of(kind), " is ", hex(handle),
         ", a handle of the parent process; make a new one after fork");
  }

  [[noreturn]] static void refuse_absent(HandleKind kind, uintptr_t handle) {
    fail(ErrorCode::kInvalidRequest, name_of(kind), " is ", hex(handle),
         ", a handle that was freed");
  }

  const int64_t process_ = process_id();
  const uintptr_t first_serial_;
  std::atomic<uintptr_t> next_serial_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<uintptr_t, std::shared_ptr<void>> objects_;
};

// Never destroyed: a program may exit while its threads are still in a call.
HandleTable& table() {
  static constinit std::atomic<HandleTable*> current{nullptr};
  HandleTable* known = current.load(std::memory_order_acquire);
  while (known == nullptr || !known->is_of_this_process()) {
    auto fresh = std::make_unique<HandleTable>(known);
    if (current.compare_exchange_strong(known, fresh.get(), std::memory_order_acq_rel)) {
      return *fresh.release();
    }
  }
  return *known;
}

}  // namespace

uintptr_t enter_handle(HandleKind kind, std::shared_ptr<void> object) {
  return table().enter(kind, std::move(object));
}

std::shared_ptr<void> find_handle(HandleKind kind, uintptr_t handle) {
  return table().find(kind, handle);
}

std::shared_ptr<void> take_handle(HandleKind kind, uintptr_t handle) {
  return table().take(kind, handle);
}

}  // namespace realm::capi
