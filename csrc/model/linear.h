// The one place where a forward meets its weight matrices. Every matrix product of the decoder goes
// through here, so what a request adds to a product is added here and nowhere else.
#pragma once

#include <initializer_list>
#include <vector>

#include "backend/backend.h"
#include "model/step_adapters.h"
#include "model/weights.h"

namespace realm {

// A product of a group that shares its input: out = in * weight^T + bias.
struct Projection {
  const Weight& weight;
  Vector bias;
  Matrix out;
  SiteId site = kNoSite;  // where adapters find it

  Projection(const Linear& linear, Matrix result)
      : weight(*linear.weight), bias(linear.bias), out(result), site(linear.site) {}
  Projection(const Weight& w, Vector b, Matrix result, SiteId id)
      : weight(w), bias(b), out(result), site(id) {}
};

// Multiplies `in` with each weight of the group, and adds what the segments' adapters do to it.
// Grouping changes speed, never a bit.
void project(Backend& backend, std::initializer_list<Projection> group, Matrix in,
             std::span<const AdapterSegment> adapters);

// out[t] = scale * the row of tokens[t], in the table or in what adapters make of it.
void embed(Backend& backend, const Weight& table, std::span<const int32_t> tokens, float scale,
           std::span<const AdapterSegment> adapters, Matrix out);

// What the segments' adapters add to a layer's experts.
std::vector<ExpertLora> expert_lora(const LayerWeights& layer, int64_t n_experts,
                                    std::span<const AdapterSegment> adapters);

}  // namespace realm
