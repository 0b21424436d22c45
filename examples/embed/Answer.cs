// Answers a study that lies in a file as raw Hounsfield units, as answer.c does, from C#.
//
//     mono Answer.exe BUNDLE STUDY.raw SLICES ROWS COLUMNS BETWEEN DOWN ACROSS RECORD.json

using System;
using System.Globalization;
using System.IO;
using System.Linq;

static class Program
{
    static int Main(string[] given)
    {
        if (given.Length != 9)
        {
            Console.Error.WriteLine(
                "usage: Answer BUNDLE STUDY.raw SLICES ROWS COLUMNS BETWEEN DOWN ACROSS RECORD.json");
            return (int)Mmcaf.Code.Usage;
        }
        try
        {
            var shape = given.Skip(2).Take(3).Select(int.Parse).ToArray();
            var mm = given.Skip(5).Take(3).Select(text => double.Parse(text, CultureInfo.InvariantCulture)).ToArray();
            var bytes = File.ReadAllBytes(given[1]);
            var values = new short[bytes.Length / 2];
            Buffer.BlockCopy(bytes, 0, values, 0, 2 * values.Length);
            var volume = new Mmcaf.Volume(values, shape[0], shape[1], shape[2], mm[0], mm[1], mm[2]);
            using (var network = new Mmcaf.Network(given[0]))
            using (var result = network.Answer(volume, File.ReadAllText(given[8])))
                Console.WriteLine(result.Json);
            return 0;
        }
        catch (Mmcaf.RefusedException refused)
        {
            Console.Error.WriteLine(refused.Kind + ": " + refused.Message);
            return (int)refused.Code;
        }
        catch (Exception failed) when (failed is IOException || failed is ArgumentException || failed is FormatException)
        {
            Console.Error.WriteLine(failed.Message);
            return (int)Mmcaf.Code.Usage;
        }
    }
}
