// The one place where a forward meets its weight matrices. Every matrix product of the decoder goes
// through project(), so what a request adds to a product is added here and nowhere else.
#pragma once

#include <initializer_list>

#include "backend/backend.h"
#include "model/weights.h"

namespace realm {

// A product of a group that shares its input: out = in * weight^T + bias.
struct Projection {
  const Weight& weight;
  Vector bias;
  Matrix out;

  Projection(const Linear& linear, Matrix result)
      : weight(*linear.weight), bias(linear.bias), out(result) {}
  Projection(const Weight& w, Vector b, Matrix result) : weight(w), bias(b), out(result) {}
};

// Multiplies `in` with each weight of the group. Grouping changes speed, never a bit.
void project(Backend& backend, std::initializer_list<Projection> group, Matrix in);

}  // namespace realm
