// The admin socket: newline-delimited JSON over a UNIX stream socket (0600), on the main loop.
//
//   {"command": "status"}
//   {"ok": true, "result": {...}}
//   {"ok": false, "error": {"code": "unknown_command", "message": "..."}}
//
// One request of a client is under way at a time, its next is read when the answer has been queued.
// Requests, answers waiting and clients are bounded; a client that reads slowly waits alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <unordered_set>

#include "abi/attach.h"
#include "control/loop.h"

namespace sluice::control {

inline constexpr size_t kMaxAdminRequestBytes = 64 * 1024;
inline constexpr size_t kMaxAdminClients = 64;
inline constexpr uint64_t kAdminIdleUs = 60'000'000;

// What a request leads to: a result, or an error with a stable code.
[[nodiscard]] std::string admin_result(const nlohmann::ordered_json& result);
[[nodiscard]] std::string admin_error(std::string_view code, std::string_view message);

class Admin {
 public:
  using Respond = std::function<void(std::string line)>;  // exactly once, now or later
  using Handler = std::function<void(const nlohmann::json& request, Respond respond)>;

  // Binds `path` with mode 0600, making its directory when it is missing. A socket file that nobody
  // answers on is replaced.
  [[nodiscard]] static tl::expected<abi::Descriptor, std::string> listen(const std::string& path);

  Admin(Loop& loop, abi::Descriptor listener, Handler handler);
  ~Admin();
  void start();
  [[nodiscard]] size_t clients() const { return clients_.size(); }

 private:
  struct Client;
  using ClientPtr = std::shared_ptr<Client>;

  void on_accept(int32_t result);
  void receive(const ClientPtr& client);
  void on_received(const ClientPtr& client, int32_t result);
  void process(const ClientPtr& client);
  void handle_line(const ClientPtr& client, const std::string& line);
  void queue(const ClientPtr& client, const std::string& line);
  void send(const ClientPtr& client);
  void on_sent(const ClientPtr& client, int32_t result);
  void watch_idle(const ClientPtr& client);
  void close(const ClientPtr& client);

  Loop& loop_;
  abi::Descriptor listener_;
  Handler handler_;
  Loop::Id accept_ = 0;
  Loop::Id accept_retry_ = 0;
  std::unordered_set<ClientPtr> clients_;
};

}  // namespace sluice::control
