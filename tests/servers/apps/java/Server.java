// The JDK's own HTTP server.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.concurrent.Executors;

public class Server {
    public static void main(String[] words) throws IOException {
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 128);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/", Server::answer); // "/up" among them
        server.start();
    }

    static void answer(HttpExchange exchange) throws IOException {
        exchange.getResponseHeaders().set("X-Generation", System.getenv().getOrDefault("RAINBOWD_GENERATION", "0"));
        try (exchange) {
            switch (exchange.getRequestURI().getPath()) {
                case "/stream" -> stream(exchange);
                case "/echo" -> echo(exchange);
                case "/slow" -> { Thread.sleep(300); say(exchange, "slow"); }
                default -> say(exchange, "up");
            }
        } catch (Exception problem) {
            throw new IOException(problem);
        }
    }

    static void say(HttpExchange exchange, String text) throws IOException {
        exchange.sendResponseHeaders(200, text.length());
        exchange.getResponseBody().write(text.getBytes());
    }

    static void echo(HttpExchange exchange) throws Exception {
        byte[] body = exchange.getRequestBody().readAllBytes();
        String digest = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(body));
        say(exchange, "{\"length\": %d, \"sha256\": \"%s\"}".formatted(body.length, digest));
    }

    static void stream(HttpExchange exchange) throws Exception {
        exchange.sendResponseHeaders(200, 0);
        for (int number = 0; number < 10; number++) {
            exchange.getResponseBody().write("%d\n".formatted(number).getBytes());
            exchange.getResponseBody().flush();
            Thread.sleep(50);
        }
        exchange.getResponseBody().write("end\n".getBytes());
    }
}
