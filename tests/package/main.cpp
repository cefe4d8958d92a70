#include <cstdio>

#include <realm/realm.hpp>

int main() {
  const realm::Runtime runtime;
  try {
    runtime.model("nobody");
  } catch (const realm::Error& error) {
    std::printf("realm %s from C++: %s: %s\n", realm::version().c_str(), error.status_name(),
                error.what());
    return 0;
  }
  return 1;
}
