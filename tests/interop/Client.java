// Java's JSSE as a client of the interop matrix: Client VERSION CA LONG SHORT.
//
// One line for each connection: the step, what the client says of its handshake, and the page that the server sent.
// JSSE keeps the sessions itself, by peer and port, so each step offers what the step before has left behind.

import java.io.FileInputStream;
import java.io.InputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

class Client {
    private static String version;
    private static SSLContext context;

    public static void main(String[] arguments) throws Exception {
        // Without this, a TLS 1.2 client waits for tickets and does not offer session ids.
        System.setProperty("jdk.tls.client.enableSessionTicketExtension", "false");
        version = "TLSv" + arguments[0];
        context = trusting(arguments[1]);
        int longPort = Integer.parseInt(arguments[2]);
        int shortPort = Integer.parseInt(arguments[3]);

        connect("full", longPort);
        connect("resumed", longPort);
        if (version.equals("TLSv1.2")) {
            connect("twice", longPort);
        } else {
            System.out.println("cannot twice it forgets a session when it offers it");
        }
        System.out.println("cannot name it resumes under the name that the session is for, whatever name is asked for");
        connect("full", shortPort);
        connect("expired", shortPort);
    }

    /** A context that trusts the certificates in a file, and nothing else. */
    private static SSLContext trusting(String path) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream file = new FileInputStream(path)) {
            for (Certificate ca : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                store.setCertificateEntry("ca " + store.size(), ca);
            }
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        SSLContext made = SSLContext.getInstance("TLS");
        made.init(null, factory.getTrustManagers(), null);
        return made;
    }

    /** One connection, from the handshake to the server's close. */
    private static void connect(String step, int port) throws Exception {
        Socket plain = new Socket("127.0.0.1", port);
        plain.setSoTimeout(20_000);
        try (SSLSocket tls = (SSLSocket) context.getSocketFactory().createSocket(plain, "localhost", port, true)) {
            SSLParameters parameters = tls.getSSLParameters();
            parameters.setProtocols(new String[] {version});
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            tls.setSSLParameters(parameters);
            long began = System.currentTimeMillis();
            tls.startHandshake();
            // A resumed session is as old as the one that it was resumed from.
            String says = tls.getSession().getCreationTime() < began ? "resumed" : "full";
            tls.getOutputStream().write("GET / HTTP/1.0\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
            String answer = new String(tls.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
            System.out.println(step + " " + says + " " + answer.lines().reduce("", (before, line) -> line));
        }
    }
}
