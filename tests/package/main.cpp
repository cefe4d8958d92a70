#include <realm/realm.h>

#include <cstdio>
#include <string_view>

int main() {
  std::printf("realm %s from C++\n", realm_version());
  return std::string_view(realm_status_name(REALM_OK)) != "ok";
}
