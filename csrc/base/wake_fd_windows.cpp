// Event loops of Windows wait for sockets, so this is a pair of them over the loopback interface,
// as Python's socket.socketpair() makes it. A stranger on the machine who connects first is turned
// away: the pair is one only if each end's address is the other's peer.

#include "base/error.h"
#include "base/wake_fd.h"
#include "base/windows.h"
// After windows.h.
#include <winsock2.h>

namespace realm {

namespace {

// The library of sockets, started once for the process and never stopped: sockets of static objects
// may outlive any owner.
void start_sockets() {
  static const int error = [] {
    WSADATA data;
    return ::WSAStartup(MAKEWORD(2, 2), &data);
  }();
  if (error != 0) fail_windows(static_cast<DWORD>(error), "cannot start the sockets of Windows");
}

[[noreturn]] void fail_socket(const char* what) {
  fail_windows(static_cast<DWORD>(::WSAGetLastError()), what);
}

class Socket {
 public:
  explicit Socket(SOCKET socket) : socket_(socket) {
    if (socket_ == INVALID_SOCKET) fail_socket("cannot make a socket");
  }
  ~Socket() {
    if (socket_ != INVALID_SOCKET) ::closesocket(socket_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  operator SOCKET() const { return socket_; }
  SOCKET release() {
    const SOCKET socket = socket_;
    socket_ = INVALID_SOCKET;
    return socket;
  }

 private:
  SOCKET socket_;
};

sockaddr* generic(sockaddr_in& address) {
  return reinterpret_cast<sockaddr*>(&address);
}

template <class Name>
sockaddr_in address_of(SOCKET socket, Name name) {
  sockaddr_in address{};
  int length = sizeof address;
  if (name(socket, generic(address), &length) != 0) fail_socket("cannot name a socket");
  return address;
}

bool same(const sockaddr_in& a, const sockaddr_in& b) {
  return a.sin_port == b.sin_port && a.sin_addr.s_addr == b.sin_addr.s_addr;
}

SOCKET stream_socket() {
  return ::socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
}

// The end of `listener` that `client` is connected to; connections of others are dropped.
SOCKET accept_own(SOCKET listener, SOCKET client) {
  constexpr int kStrangers = 100;
  const sockaddr_in own = address_of(client, ::getsockname);
  for (int i = 0; i < kStrangers; ++i) {
    Socket end(::accept(listener, nullptr, nullptr));
    if (same(address_of(end, ::getpeername), own)) return end.release();
  }
  fail(ErrorCode::kIo, "cannot make a pair of sockets: others keep connecting");
}

void make_ready(SOCKET socket) {
  u_long yes = 1;
  if (::ioctlsocket(socket, FIONBIO, &yes) != 0) fail_socket("cannot set a socket up");
  // A child process must not hold it.
  ::SetHandleInformation(reinterpret_cast<HANDLE>(socket), HANDLE_FLAG_INHERIT, 0);
}

}  // namespace

WakeFd::WakeFd() {
  start_sockets();
  const Socket listener(stream_socket());
  sockaddr_in any_port{};
  any_port.sin_family = AF_INET;
  any_port.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  if (::bind(listener, generic(any_port), sizeof any_port) != 0 || ::listen(listener, 1) != 0) {
    fail_socket("cannot listen for a socket of this process");
  }
  sockaddr_in address = address_of(listener, ::getsockname);
  Socket writer(stream_socket());
  if (::connect(writer, generic(address), sizeof address) != 0) fail_socket("cannot connect");
  Socket reader(accept_own(listener, writer));
  make_ready(reader);
  make_ready(writer);
  BOOL at_once = TRUE;
  ::setsockopt(writer, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<const char*>(&at_once),
               sizeof at_once);
  // Handles of the kernel fit 32 bits in every Windows of 64.
  read_end_ = static_cast<int>(reader.release());
  write_end_ = static_cast<int>(writer.release());
}

WakeFd::~WakeFd() {
  ::closesocket(static_cast<SOCKET>(read_end_));
  ::closesocket(static_cast<SOCKET>(write_end_));
}

void WakeFd::signal() noexcept {
  const char one = 1;
  ::send(static_cast<SOCKET>(write_end_), &one, 1, 0);  // a full socket is readable already
}

void WakeFd::clear() noexcept {
  char bytes[256];
  while (::recv(static_cast<SOCKET>(read_end_), bytes, sizeof bytes, 0) ==
         static_cast<int>(sizeof bytes)) {
  }
}

}  // namespace realm
