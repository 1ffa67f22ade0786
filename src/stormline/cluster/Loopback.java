import java.lang.instrument.ClassFileTransformer;
import java.lang.instrument.Instrumentation;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.ProtectionDomain;
import java.io.ByteArrayOutputStream;
import java.util.Arrays;

/**
 * A Java agent: a server that asks for "this port on every interface" gets it on loopback alone.
 *
 * Nimbus, Supervisor and workers listen by `new InetSocketAddress(port)` and have no setting for the address; a Nimbus
 * without passwords on every interface lets the whole network run programs here. That constructor takes its address from
 * InetAddress.anyLocalAddress(); the name of that method in its constant pool becomes getLoopbackAddress, which has the
 * same type.
 */
public final class Loopback implements ClassFileTransformer {
    private static final byte[] ANY = constant("anyLocalAddress");
    private static final byte[] LOOPBACK = constant("getLoopbackAddress");

    public static void premain(String argument, Instrumentation jvm) throws Exception {
        Loopback transformer = new Loopback();
        jvm.addTransformer(transformer, true);
        jvm.retransformClasses(InetSocketAddress.class);
        jvm.removeTransformer(transformer);
        if (!new InetSocketAddress(0).getAddress().isLoopbackAddress()) {
            throw new IllegalStateException("this Java cannot be kept to loopback: anyLocalAddress is elsewhere");
        }
    }

    @Override
    public byte[] transform(ClassLoader loader, String name, Class<?> old, ProtectionDomain domain, byte[] code) {
        if (!"java/net/InetSocketAddress".equals(name)) {
            return null;
        }
        for (int at = 0; at + ANY.length <= code.length; at++) {
            if (Arrays.equals(code, at, at + ANY.length, ANY, 0, ANY.length)) {
                ByteArrayOutputStream changed = new ByteArrayOutputStream(code.length + 8);
                changed.write(code, 0, at);
                changed.write(LOOPBACK, 0, LOOPBACK.length);
                changed.write(code, at + ANY.length, code.length - at - ANY.length);
                return changed.toByteArray();
            }
        }
        return null;
    }

    /** CONSTANT_Utf8 (JVM specification, 4.4.7): tag 1, length in two bytes, text. */
    private static byte[] constant(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.US_ASCII);
        byte[] entry = new byte[bytes.length + 3];
        entry[0] = 1;
        entry[2] = (byte) bytes.length;
        System.arraycopy(bytes, 0, entry, 3, bytes.length);
        return entry;
    }
}
