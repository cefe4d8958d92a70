#include <cstdio>
#include <string_view>

#include <realm/realm.h>

int main() {
  std::printf("realm %s from C++\n", realm_version());
  return std::string_view(realm_status_name(REALM_OK)) != "ok";
}
