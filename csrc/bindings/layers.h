// What Python holds of a session of layers, for those who make one.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "bindings/one_at_a_time.h"
#include "model/layer_session.h"

namespace realm::bindings {

class PyLayerSession : public OneAtATime<std::unique_ptr<LayerSession>> {
 public:
  explicit PyLayerSession(std::unique_ptr<LayerSession> session)
      : OneAtATime("session", std::move(session)) {}
};

// Ends the calls that it is given to. Raised from any thread, for good.
struct CancelFlag {
  std::atomic<bool> raised{false};
};

}  // namespace realm::bindings
