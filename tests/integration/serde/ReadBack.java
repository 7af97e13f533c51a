import java.io.BufferedReader;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.Properties;
import java.util.zip.GZIPInputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hive.serde2.OpenCSVSerde;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.util.LineReader;

/**
 * Reads gzip CSV objects as Hive does: Hadoop's lines, Hive's OpenCSVSerde. Properties come as name=value arguments, the
 * objects' paths on standard input; every row goes to standard output as its columns, each in base64.
 */
public class ReadBack {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        for (String argument : arguments) {
            int at = argument.indexOf('=');
            properties.setProperty(argument.substring(0, at), argument.substring(at + 1));
        }
        int skipped = Integer.parseInt(properties.getProperty("skip.header.line.count"));
        OpenCSVSerde serde = new OpenCSVSerde();
        serde.initialize(new Configuration(false), properties);
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader paths = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String path; (path = paths.readLine()) != null; ) {
            try (InputStream object = new GZIPInputStream(Files.newInputStream(Path.of(path)))) {
                LineReader lines = new LineReader(object, 1 << 20);
                Text line = new Text();
                for (int number = 0; lines.readLine(line) > 0; number++) {
                    if (number >= skipped) {
                        out.println(encoded((List<?>) serde.deserialize(line)));
                    }
                }
            }
        }
        out.flush();
    }

    private static String encoded(List<?> row) {
        StringBuilder text = new StringBuilder();
        for (Object column : row) {
            byte[] bytes = String.valueOf(column).getBytes(StandardCharsets.UTF_8);
            text.append(text.isEmpty() ? "" : " ").append(Base64.getEncoder().encodeToString(bytes));
        }
        return text.toString();
    }
}
