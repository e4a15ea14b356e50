// HttpServer: metrics, health and small admin pages of a process, on a thread of their own.
//
//   HttpServer http({.host = "127.0.0.1", .port = 0, .name = "server-2"}, metrics, [&] { return
//   server.Ready(); }); http.Route("GET", "/api/shards", [&](const HttpRequest&) { return
//   HttpResponse::Json(server.ShardsJson()); }); PENSTOCK_RETURN_IF_ERROR(http.Start());
//
// Built in: /metrics (Prometheus text), /healthz (200 as long as this thread lives) and /readyz (200, or 503
// with the reason that the readiness callback gives). Handlers and the callback run on the HTTP thread, one
// at a time; they must be quick, must be safe from that thread, and must stay callable until Stop returns.
// HTTP/1.1 with keep-alive; HEAD is answered wherever GET is. Errors have a JSON body
// {"error": "..."}: 400 malformed, 404, 405 (with Allow), 413 and 431 (limits), 500 (a handler threw). A
// connection that takes longer than the timeout to send a request or to take an answer is closed; one beyond
// the limit of connections gets 503 and is closed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/metrics.h"
#include "common/base/status.h"

namespace penstock {

struct HttpRequest {
  std::string method;
  std::string path;   // percent-decoded, without the query
  std::string query;  // what follows '?', as sent
  std::string body;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};

  static HttpResponse Json(const nlohmann::json& value, int status = 200);
  static HttpResponse Text(std::string text, int status = 200);
  // {"error": message}
  static HttpResponse Error(int status, std::string_view message);
};

struct HttpOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;  // 0: any free one; ask port() which
  std::string advertise_host =
      {};                 // what address() names; empty: host, or this machine's name for a wildcard
  std::string name = {};  // of the process, in /healthz
  size_t max_header_bytes = 16 << 10;
  size_t max_body_bytes = 1 << 20;
  size_t max_connections = 256;
  uint32_t timeout_ms =
      10000;  // to receive one request whole, to send one answer whole, and between two requests
};

class HttpServer {
 public:
  using Handler = std::function<HttpResponse(const HttpRequest&)>;
  using Readiness = std::function<Status()>;

  HttpServer(HttpOptions options, MetricsRegistry& metrics, Readiness readiness);
  ~HttpServer();  // Stop()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Before Start. Matches `prefix` itself and all below it ("/api" takes "/api/x" and not "/apix"; "/" takes
  // all); the longest one wins.
  void Route(const std::string& method, const std::string& prefix, Handler handler);

  // kFailedPrecondition naming address and port when it cannot listen there; kInvalidArgument for a host that
  // is no address.
  Status Start();
  // Closes all connections, also in the middle of an answer, and ends the thread. Idempotent; not from a
  // handler.
  void Stop();

  uint16_t port() const;        // after Start
  std::string address() const;  // "host:port", after Start

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock
