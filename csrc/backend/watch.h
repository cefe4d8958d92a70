// A backend watches a cancellation flag for as long as this lives. The flag may be null.
#pragma once

#include "backend/backend.h"

namespace realm {

class CancelWatch {
 public:
  CancelWatch(Backend& backend, const std::atomic<bool>* flag) : backend_(backend) {
    backend_.watch(flag);
  }
  ~CancelWatch() { backend_.watch(nullptr); }
  CancelWatch(const CancelWatch&) = delete;
  CancelWatch& operator=(const CancelWatch&) = delete;

 private:
  Backend& backend_;
};

}  // namespace realm
