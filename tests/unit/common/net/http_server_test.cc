// HttpServer over plain sockets: the built-in pages, routing, limits, slow and crowding clients, ports that
// are taken.
#include "common/net/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "common/net/http_router.h"

namespace penstock {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr int kPatienceMs = 20000;

// A client that sends bytes as they are and reads until it has seen enough or the server closes.
class RawClient {
 public:
  explicit RawClient(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~RawClient() { close(fd_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // Everything until the server closes.
  std::string ReadToEnd() {
    while (ReadSome()) {
    }
    return std::move(received_);
  }
  // One answer with a Content-Length.
  std::string ReadAnswer() {
    for (;;) {
      const size_t end = received_.find("\r\n\r\n");
      const size_t field = received_.find("Content-Length: ");
      if (end != std::string::npos && field < end) {
        const size_t total = end + 4 + std::stoul(received_.substr(field + 16));
        if (received_.size() >= total) {
          std::string answer = received_.substr(0, total);
          received_.erase(0, total);
          return answer;
        }
      }
      if (!ReadSome()) return "(closed) " + received_;
    }
  }

 private:
  bool ReadSome() {
    pollfd wait{.fd = fd_, .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, kPatienceMs) != 1) {
      ADD_FAILURE() << "the server neither answered nor closed in " << kPatienceMs << " ms";
      return false;
    }
    char buffer[4096];
    const ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
    if (n <= 0) return false;
    received_.append(buffer, static_cast<size_t>(n));
    return true;
  }

  int fd_;
  bool connected_ = false;
  std::string received_;
};

class HttpServerTest : public testing::Test {
 protected:
  void StartServer(HttpOptions options = {}) {
    options.name = "server-2";
    server_ = std::make_unique<HttpServer>(options, metrics_, [this] {
      return ready_ ? Status::Ok() : Unavailable("3 shards are not loaded yet");
    });
    server_->Route("GET", "/api", [](const HttpRequest& request) {
      return HttpResponse::Text(request.method + " " + request.path + " ? " + request.query);
    });
    server_->Route("POST", "/api/echo",
                   [](const HttpRequest& request) { return HttpResponse::Text(request.body); });
    server_->Route("GET", "/api/echo", [](const HttpRequest&) { return HttpResponse::Text("got"); });
    server_->Route("GET", "/broken",
                   [](const HttpRequest&) -> HttpResponse { throw std::runtime_error("no luck"); });
    const Status status = server_->Start();
    ASSERT_TRUE(status.ok()) << status.ToString();
    ASSERT_NE(server_->port(), 0);
  }
  // One request on a connection of its own.
  std::string Ask(const std::string& method, const std::string& target, const std::string& body = "") {
    RawClient client(server_->port());
    client.Send(method + " " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    return client.ReadToEnd();
  }

  MetricsRegistry metrics_;
  std::atomic<bool> ready_{true};
  std::unique_ptr<HttpServer> server_;
};

nlohmann::json Body(const std::string& answer) {
  return nlohmann::json::parse(answer.substr(answer.find("\r\n\r\n") + 4));
}

TEST_F(HttpServerTest, Metrics) {
  metrics_.AddCounter("penstock_server_push_rows_total", "Rows.").Increment(7);
  StartServer();
  Ask("GET", "/nothing");
  const std::string answer = Ask("GET", "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(answer, HasSubstr("penstock_server_push_rows_total 7\n"));
  EXPECT_THAT(answer, HasSubstr("penstock_http_requests_total{code=\"404\"} 1\n"));
}

TEST_F(HttpServerTest, HealthAndReadiness) {
  StartServer();
  const auto health = Body(Ask("GET", "/healthz"));
  EXPECT_EQ(health["status"], "alive");
  EXPECT_EQ(health["name"], "server-2");
  EXPECT_EQ(health["pid"], getpid());
  EXPECT_THAT(Ask("GET", "/readyz"), StartsWith("HTTP/1.1 200 OK\r\n"));
  ready_ = false;
  const std::string answer = Ask("GET", "/readyz");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(Body(answer)["reason"].get<std::string>(), HasSubstr("3 shards are not loaded yet"));
  EXPECT_THAT(Ask("GET", "/healthz"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(HttpServerTest, RoutesByLongestPrefixAndMethod) {
  StartServer();
  EXPECT_THAT(Ask("GET", "/api/a%20b?x=%20"), HasSubstr("\r\n\r\nGET /api/a b ? x=%20"));
  EXPECT_THAT(Ask("GET", "/api"), HasSubstr("\r\n\r\nGET /api ? "));
  EXPECT_THAT(Ask("POST", "/api/echo", "hello"), HasSubstr("\r\n\r\nhello"));
  EXPECT_THAT(Ask("GET", "/api/echo/deeper"), HasSubstr("\r\n\r\ngot"));
  const std::string nothing = Ask("GET", "/apix");
  EXPECT_THAT(nothing, StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_EQ(Body(nothing)["error"], "there is nothing at '/apix'");
  const std::string refused = Ask("DELETE", "/api/echo");
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 405 Method Not Allowed\r\n"));
  EXPECT_THAT(refused, HasSubstr("Allow: POST, GET, HEAD\r\n"));
  EXPECT_THAT(Ask("POST", "/healthz"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(Ask("GET", "/api/%zz"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Ask("GET", "api"), StartsWith("HTTP/1.1 400 "));
}

TEST_F(HttpServerTest, AHandlerThatThrowsIs500) {
  StartServer();
  const std::string answer = Ask("GET", "/broken");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 "));
  EXPECT_EQ(Body(answer)["error"], "no luck");
  EXPECT_THAT(Ask("GET", "/healthz"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, KeepsAConnectionAliveAndAnswersHeadWithoutABody) {
  StartServer();
  RawClient client(server_->port());
  ASSERT_TRUE(client.connected());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.Send("GET /api/" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n"));
    EXPECT_THAT(client.ReadAnswer(), HasSubstr("\r\n\r\nGET /api/" + std::to_string(i)));
  }
  // Two at once, then the head of a page: its length is that of GET, and nothing follows it.
  ASSERT_TRUE(client.Send("GET /api/a HTTP/1.1\r\nHost: x\r\n\r\nGET /api/b HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_THAT(client.ReadAnswer(), HasSubstr("GET /api/a"));
  EXPECT_THAT(client.ReadAnswer(), HasSubstr("GET /api/b"));
  ASSERT_TRUE(client.Send("HEAD /api/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  const std::string head = client.ReadToEnd();
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(head, HasSubstr("Content-Length: 3\r\n"));
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
}

TEST_F(HttpServerTest, RefusesWhatIsTooLargeOrMalformed) {
  StartServer({.max_header_bytes = 2048, .max_body_bytes = 1000});
  RawClient header(server_->port());
  header.Send("GET / HTTP/1.1\r\nX-Long: " + std::string(5000, 'x') + "\r\n\r\n");
  EXPECT_THAT(header.ReadToEnd(), StartsWith("HTTP/1.1 431 "));
  RawClient body(server_->port());
  body.Send("POST /api/echo HTTP/1.1\r\nContent-Length: 1001\r\n\r\n" + std::string(1001, 'x'));
  EXPECT_THAT(body.ReadToEnd(), StartsWith("HTTP/1.1 413 "));
  RawClient chunked(server_->port());
  chunked.Send("POST /api/echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5dc\r\n" +
               std::string(1500, 'x') + "\r\n0\r\n\r\n");
  EXPECT_THAT(chunked.ReadToEnd(), StartsWith("HTTP/1.1 413 "));
  RawClient garbage(server_->port());
  garbage.Send("what is this\r\n\r\n");
  EXPECT_THAT(garbage.ReadToEnd(), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Ask("POST", "/api/echo", std::string(1000, 'y')), HasSubstr(std::string(1000, 'y')));
}

TEST_F(HttpServerTest, ClosesASlowClientAndAnIdleOne) {
  StartServer({.timeout_ms = 200});
  RawClient idle(server_->port());
  RawClient slow(server_->port());
  // Dripping bytes does not extend the time for the request as a whole.
  const auto begin = std::chrono::steady_clock::now();
  slow.Send("GET /api HTTP/1.1\r\n");
  for (int i = 0; slow.Send("X"); ++i) {
    ASSERT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(kPatienceMs));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the drip itself
  }
  EXPECT_EQ(slow.ReadToEnd(), "");
  EXPECT_EQ(idle.ReadToEnd(), "");
  EXPECT_THAT(Ask("GET", "/healthz"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, RefusesConnectionsBeyondTheLimit) {
  StartServer({.max_connections = 2});
  RawClient first(server_->port()), second(server_->port());
  for (RawClient* client : {&first, &second}) {  // answered, so surely counted
    client->Send("GET /api HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_THAT(client->ReadAnswer(), HasSubstr("200 OK"));
  }
  {
    RawClient third(server_->port());
    const std::string answer = third.ReadAnswer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
    EXPECT_THAT(answer, HasSubstr("more than 2 connections"));
  }
  first.Send("GET /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(first.ReadToEnd(), HasSubstr("200 OK"));
}

TEST_F(HttpServerTest, StopClosesConnectionsAndFreesThePort) {
  StartServer();
  const uint16_t port = server_->port();
  RawClient client(port);
  client.Send("GET /api HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_THAT(client.ReadAnswer(), HasSubstr("200 OK"));
  server_->Stop();
  server_->Stop();
  EXPECT_FALSE(RawClient(port).connected());
  server_.reset();
  EXPECT_EQ(client.ReadToEnd(), "");
}

TEST_F(HttpServerTest, AddressErrorsNameTheAddress) {
  StartServer();
  MetricsRegistry other;
  HttpServer taken({.port = server_->port()}, other, [] { return Status::Ok(); });
  const Status status = taken.Start();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(),
              HasSubstr("127.0.0.1:" + std::to_string(server_->port()) + ": Address already in use"));
  MetricsRegistry third;
  HttpServer nowhere({.host = "256.1.1.1"}, third, [] { return Status::Ok(); });
  EXPECT_EQ(nowhere.Start().code(), Code::kInvalidArgument);
}

TEST(PercentDecodeTest, Decodes) {
  std::string out;
  EXPECT_TRUE(PercentDecode("/a%2Fb%41", &out));
  EXPECT_EQ(out, "/a/bA");
  for (const char* bad : {"%", "%1", "%g1", "%1g", "%00", "%-1"})
    EXPECT_FALSE(PercentDecode(bad, &out)) << bad;
}

}  // namespace
}  // namespace penstock
