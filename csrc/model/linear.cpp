#include "model/linear.h"

#include <vector>

namespace realm {

void project(Backend& backend, std::initializer_list<Projection> group, Matrix in) {
  std::vector<Product> products;
  products.reserve(group.size());
  for (const Projection& one : group) products.push_back({one.weight, one.bias, one.out});
  backend.linear(products, in);
}

}  // namespace realm
